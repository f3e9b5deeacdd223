"""Send one GET exactly as given and print the answer as JSON: `ask.py ADDRESS TARGET [NAME:VALUE...]`.

Runs on a machine of the fleet too, with nothing but Python's own library.
"""

import http.client
import json
import sys

address, target, *headers = sys.argv[1:]
connection = http.client.HTTPConnection(address, timeout=10)
connection.putrequest("GET", target)
for header in headers:
    connection.putheader(*header.split(":", 1))
connection.endheaders()
answer = connection.getresponse()
content = {"status": answer.status, "headers": dict(answer.getheaders()), "text": answer.read().decode()}
sys.stdout.write(json.dumps(content))
