"""What the operator asks beside the server's public API: accounts, users, keys and roles that commands make, and the brake.

A command is a value (`accounts`, `users`, `keys`, `roles`) that decides, on a `State`, what is to change and what to answer.
`Administration` carries commands out, whoever sends them: a program that has the database to itself, or a running server, which
`socket` reaches and `protocol` speaks to.
"""

from haulier.admin.accounts import CreateAccount, DeleteAccount, ListAccounts
from haulier.admin.administration import Administration, Peer
from haulier.admin.keys import AddMasterKey, CreateKey, DeleteKey, ListKeys, Reencrypt, SetKeyDisabled
from haulier.admin.roles import CreateRole, DeleteRole, ListRoles, SetRole
from haulier.admin.state import Defined
from haulier.admin.stopping import ResumeAll, StopAll
from haulier.admin.users import CreateUser, DeleteUser, ListUsers, SetUserDisabled, SetUserPolicy

__all__ = ["Administration", "Command", "Defined", "Peer"]

Command = (
    CreateAccount
    | ListAccounts
    | DeleteAccount
    | CreateUser
    | ListUsers
    | SetUserPolicy
    | SetUserDisabled
    | DeleteUser
    | CreateKey
    | ListKeys
    | SetKeyDisabled
    | DeleteKey
    | Reencrypt
    | AddMasterKey
    | CreateRole
    | ListRoles
    | SetRole
    | DeleteRole
    | StopAll
    | ResumeAll
)
"""Everything that can be asked, told apart by `type`."""
