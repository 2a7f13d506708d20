"""A webhook receiver for the integration tests.

    python3 tests/receiver.py whsec_…

Listens on a free port of 127.0.0.1 and prints its number. Verifies every POST with the `standardwebhooks` package
and prints one JSON line for each: {"ok": …, "id": …, "type": …, "error": …}. Answers 204 to what verifies and 400
to what does not. Ends when its standard input is closed.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook


def examine(webhook, body, headers):
    """What is printed about one request."""
    report = {"ok": False, "id": headers.get("webhook-id"), "type": None, "error": None}
    try:
        report["type"] = webhook.verify(body, dict(headers))["type"]
        report["ok"] = True
    except Exception as error:  # whatever arrives is reported, not raised
        report["error"] = f"{type(error).__name__}: {error}"
    return report


def main():
    webhook = Webhook(sys.argv[1])
    printing = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            report = examine(webhook, body, self.headers)
            with printing:
                print(json.dumps(report), flush=True)
            self.send_response(204 if report["ok"] else 400)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: receiver.py whsec_…")
    main()
