"""Gets a token that is bound to a new key with requests-oauth2client, and calls the API with it. Prints the statuses as JSON.

usage: client.py <token endpoint> <resource> <URL>
"""

import json
import sys

import requests
from requests_oauth2client import OAuth2Client

token_endpoint, resource, url = sys.argv[1:]
# Plain http is allowed for a test only.
client = OAuth2Client(token_endpoint, client_id="svc-dpop", client_secret="svc-secret", testing=True)
token = client.client_credentials(scope="read:orders", resource=resource, dpop=True)
# The library repeats a request for the nonce itself.
responses = [requests.get(url, auth=token, timeout=10) for _ in range(2)]
stolen = requests.get(url, headers={"authorization": f"Bearer {token.access_token}"}, timeout=10)
print(
    json.dumps(
        {
            "type": token.token_type,
            "statuses": [response.status_code for response in responses],
            "claims": responses[0].json(),
            "bearer": {"status": stolen.status_code, "challenge": stolen.headers["www-authenticate"]},
        }
    )
)
