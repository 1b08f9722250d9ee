"""The native JSON API, `/api/v1`: what the console, the command line and programs use where no cloud's dialect has the words.

`apis` is the table of what there is; requests are read and answers written by the types it names, and `openapi` is made of the
same table and types.
"""
