#!/usr/bin/env python3
"""ClickHouse's HTTP interface for tests, over the engine itself (the wheel `chdb-core`), in one process.

    clickhouse_server.py [--data FOLDER] [--port 0]

Binds 127.0.0.1 and prints `listening 127.0.0.1:PORT` when it answers. Ends when its standard input closes, so it
does not outlive whoever started it, and on SIGTERM. What was inserted is in FOLDER and there after a restart; without
one it is kept in a temporary folder and removed at the end.

SQUALL_CLICKHOUSE_USER and SQUALL_CLICKHOUSE_PASSWORD, when set, are asked of every request. Not understood: compression,
sessions, roles, parameters in a form; access rights, of which the engine has none here.
"""

import argparse
import contextlib
import json
import os
import queue
import re
import signal
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb import _chdb

# Parameters of the interface; every other one is a setting, or `param_NAME`.
INTERFACE = {
    "query", "database", "default_format", "user", "password", "query_id", "compress", "decompress", "role",
    "session_id", "session_timeout", "session_check", "quota_key", "buffer_size", "wait_end_of_query", "stacktrace",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms", "enable_http_compression",
    "cancel_http_readonly_queries_on_client_close",
}
INSERT = re.compile(r"\s*INSERT\s+INTO\s.+?\bFORMAT\s+(\w+)\s*$", re.IGNORECASE | re.DOTALL)
FORMAT = re.compile(r"\bFORMAT\s+\w+\s*;?\s*$", re.IGNORECASE)
CODE = re.compile(r"Code:\s*(\d+)")
AUTHENTICATION_FAILED, NOT_IMPLEMENTED, UNKNOWN_SETTING = 516, 48, 115
PIECE = 1 << 20


class Refused(Exception):
    """What a server would answer with an exception of its own."""

    def __init__(self, code, text):
        super().__init__(f"Code: {code}. DB::Exception: {text}")


class Connections:
    """Connections to the engine, each for one request at a time.

    Settings are of a connection, so they are set for a request and taken back after it. A connection on which a
    query failed may answer the next one with what the failed one left over: it is replaced.
    """

    def __init__(self, folder, count):
        self.folder = folder
        self.idle = queue.LifoQueue()
        for _ in range(count):
            self.idle.put(_chdb.connect(folder))

    @contextlib.contextmanager
    def lend(self, database, settings):
        connection = self.idle.get()
        try:
            connection.query(f"USE {identifier(database)}", "TSV")
            for name, value in settings.items():
                if not re.fullmatch(r"\w+", name):
                    raise Refused(UNKNOWN_SETTING, f"Unknown setting '{name}'")
                connection.query(f"SET {name} = {literal(value)}", "TSV")
            yield connection
            for name in settings:
                connection.query(f"SET {name} = DEFAULT", "TSV")
        except BaseException:
            with contextlib.suppress(Exception):
                connection.close()
            connection = _chdb.connect(self.folder)
            raise
        finally:
            self.idle.put(connection)

    def close(self):
        with contextlib.suppress(queue.Empty):
            while True:
                self.idle.get_nowait().close()


def identifier(name):
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "clickhouse-for-tests"
    disable_nagle_algorithm = True
    wbufsize = PIECE

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.handle_query()

    def do_POST(self):
        self.handle_query()

    def handle_query(self):
        url = urlsplit(self.path)
        parameters = dict(parse_qsl(url.query, keep_blank_values=True))
        if url.path == "/ping" or (self.command == "GET" and "query" not in parameters):
            return self.answer(200, b"Ok.\n")
        body = self.body()
        try:
            self.authenticate(parameters)
            answer = self.execute(parameters, body)
        except ConnectionError:
            self.close_connection = True
        except Exception as error:  # whatever it is, the client is told
            text = str(error)
            code = CODE.search(text)
            # The rest of the body, or it would be read as the next request.
            with contextlib.suppress(ConnectionError):
                for _ in body:
                    pass
            number = code.group(1) if code else "1002"
            status = 403 if number == str(AUTHENTICATION_FAILED) else 500
            self.answer(status, (text.rstrip() + "\n").encode(), {"X-ClickHouse-Exception-Code": number})
        else:
            self.answer(200, *answer)

    def authenticate(self, parameters):
        expected = os.environ.get("SQUALL_CLICKHOUSE_USER")
        if expected is None:
            return
        user = self.headers.get("X-ClickHouse-User") or parameters.get("user") or "default"
        password = self.headers.get("X-ClickHouse-Key") or parameters.get("password") or ""
        if (user, password) != (expected, os.environ.get("SQUALL_CLICKHOUSE_PASSWORD", "")):
            raise Refused(
                AUTHENTICATION_FAILED,
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name. "
                "(AUTHENTICATION_FAILED)",
            )

    def execute(self, parameters, body):
        if parameters.get("compress") == "1" or parameters.get("decompress") == "1":
            raise Refused(NOT_IMPLEMENTED, "compression is not understood here: turn it off. (NOT_IMPLEMENTED)")
        given = {name: value for name, value in parameters.items() if name.startswith("param_")}
        settings = {name: value for name, value in parameters.items() if name not in INTERFACE and name not in given}
        database = parameters.get("database") or self.headers.get("X-ClickHouse-Database") or "default"
        sql = parameters.get("query", "")
        insert = INSERT.match(sql)
        with self.server.connections.lend(database, settings) as connection:
            if insert:
                rows = self.insert(connection, sql[: insert.start(1)].rstrip()[: -len("FORMAT")], insert.group(1), body)
                return b"", {"X-ClickHouse-Summary": json.dumps({"written_rows": str(rows)})}
            sql += b"".join(body).decode()
            form = parameters.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"
            result = connection.query(sql, form, params={name[6:]: value for name, value in given.items()})
            return (bytes(result.bytes() or b"") if result is not None else b"",)

    def insert(self, connection, sql, form, body):
        insert = connection.send_insert(sql, form)
        try:
            for piece in body:
                connection.insert_append(insert, piece)
            return connection.insert_done(insert).rows_written()
        except BaseException:
            # Also when the client goes away in the middle: nothing of it may be stored.
            with contextlib.suppress(Exception):
                connection.insert_cancel(insert)
            raise

    def body(self):
        """The request's body, piece by piece."""
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            while True:
                length = int(self.line().split(b";")[0], 16)
                yield from self.pieces(length)
                self.line()
                if length == 0:
                    return
        yield from self.pieces(int(self.headers.get("Content-Length") or 0))

    def line(self):
        line = self.rfile.readline(1024)
        if not line.endswith(b"\n"):
            raise ConnectionError("the client went away")
        return line

    def pieces(self, length):
        while length:
            piece = self.rfile.read(min(length, PIECE))
            if not piece:
                raise ConnectionError("the client went away")
            length -= len(piece)
            yield piece

    def answer(self, status, data, headers=None):
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port, connections):
        super().__init__(("127.0.0.1", port), Handler)
        self.connections = connections


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the engine's data")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--connections", type=int, default=8, help="requests at once; further ones wait")
    arguments = parser.parse_args()

    with contextlib.ExitStack() as stack:
        folder = arguments.data or stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        serve(arguments.port, Connections(folder, arguments.connections))


def serve(port, connections):
    server = Server(port, connections)

    def stopping(*_):
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stopping)
    signal.signal(signal.SIGINT, stopping)

    def until_input_closes():
        while os.read(0, 4096):
            pass
        stopping()

    threading.Thread(target=until_input_closes, daemon=True).start()
    print("listening 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()
    connections.close()


if __name__ == "__main__":
    main()
