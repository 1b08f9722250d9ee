"""How to talk to the store and server that `haulier demo --keep` leaves running."""

import hashlib
import sys
from pathlib import Path

from haulier.cli.demo.stage import LISTS, Stage
from haulier.testing.server import ACCESS_KEY, AWS_ACCOUNT_ID, SECRET_KEY


def how_to(stage: Stage, folder: Path) -> str:
    """Recipes for boto3, the AWS command line, curl and Haulier's own command line; and how to end everything."""
    url = stage.server.url
    store_keys = f"AWS_ACCESS_KEY_ID={stage.store.access_key} AWS_SECRET_ACCESS_KEY={stage.store.secret_key}"
    keys = f"AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} AWS_DEFAULT_REGION=us-east-1"
    gone = f"while kill -0 {stage.server.pid} 2>/dev/null; do sleep 0.1; done"
    sockets = " ".join(map(str, stage.store.sockets))
    return f"""
Store and server go on. boto3 (the client is a stock one but for its address):

  from haulier import boto3_client
  client = boto3_client("{url}", "{AWS_ACCOUNT_ID}", aws_access_key_id="{ACCESS_KEY}", aws_secret_access_key="{SECRET_KEY}")
  print(client.list_jobs()["Jobs"])

AWS command line (it puts the account before any host, so our port is its proxy and needs no DNS):

  {keys} HTTP_PROXY={url} \\
    aws s3control list-jobs --account-id {AWS_ACCOUNT_ID} --region us-east-1 --endpoint-url http://s3control.test

curl:

  curl --aws-sigv4 aws:amz:us-east-1:s3 --user {ACCESS_KEY}:{SECRET_KEY} \\
    -H 'x-amz-account-id: {AWS_ACCOUNT_ID}' -H x-amz-content-sha256:{hashlib.sha256(b"").hexdigest()} \\
    {url}/v20180820/jobs

Haulier's command line:

  {Path(sys.executable).parent / "haulier"} job list --config {stage.server.config_file}

The reports, in the store:

  {store_keys} aws --endpoint-url {stage.store.endpoint} s3 ls --recursive s3://{LISTS}/reports/

End both and remove what they wrote:

  kill {stage.server.pid}; {gone}; kill -9 {stage.store.pid}; rm -r {folder} {sockets}
"""
