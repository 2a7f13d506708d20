"""What Docker, Prometheus and Grafana would be given, checked as far as it can be without them.

    python3 -m unittest tests/deployment_test.py

Each check says what is wrong instead of failing, so that the tests at the end can show that it finds what it is for.
"""

import copy
import http.server
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)*(-[a-z0-9.-]+)?$")
VARIABLE = re.compile(r"\$\{(\w+)(:\?[^}]*)?\}")
SECRET = re.compile(r"password|token|secret", re.IGNORECASE)


class Strict(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def read(path):
    return (ROOT / path).read_text()


def read_yaml(path):
    return yaml.load(read(path), Strict)


def env_example():
    lines = [line for line in read(".env.example").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def dashboards():
    return {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "dashboards").glob("*.json"))}


def sources():
    return {source["uid"]: source for source in read_yaml("deploy/grafana/provisioning/datasources/squall.yml")["datasources"]}


def compose_problems(compose, dockerfile, env):
    """What is wrong with docker-compose.yml."""
    found = []
    services = compose["services"]
    used, variables = set(), set()
    for name, service in services.items():

        def say(problem):
            found.append(f"{name}: {problem}")

        once = service.get("restart") == "no"
        built = "build" in service
        if not built and not PINNED.match(service.get("image", "")):
            say("no image with a pinned version")
        if not once and "healthcheck" not in service and not (built and "HEALTHCHECK" in dockerfile):
            say("no health check")
        for port in service.get("ports", []):
            if not re.match(r"^127\.0\.0\.1:\d+:\d+$", port):
                say(f"port {port} is not on loopback")
        for volume in service.get("volumes", []):
            source, target, *options = volume.split(":")
            if source.startswith("."):
                if not (ROOT / source).exists():
                    say(f"mounts {source}, which is not there")
                if options != ["ro"]:
                    say(f"{source} can be written")
            else:
                used.add(source)
                if source not in compose["volumes"]:
                    say(f"volume {source} is not declared")
        for other, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            if other not in services:
                say(f"depends on {other}, which is not there")
            elif (services[other].get("restart") == "no") != (condition == "service_completed_successfully"):
                say(f"waits for {other} to be {condition}")
        for key, value in service.get("environment", {}).items():
            if not isinstance(value, str):
                say(f"{key} is no text")
            elif SECRET.search(key) and not re.fullmatch(r"\$\{\w+:\?[^}]+\}", value):
                say(f"{key} does not come from .env, or may be empty")
        for secret in service.get("secrets", []):
            if secret not in compose["secrets"]:
                say(f"secret {secret} is not declared")
            if service.get("read_only"):
                say("a secret from the environment needs a root file system that can be written")
        if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
            say("has privileges it does not need")
        for key in ("privileged", "network_mode", "cap_add", "pid", "devices"):
            if key in service:
                say(f"has {key}")
        if "mem_limit" not in service:
            say("its memory is not bounded")
        variables |= {match[0] for match in VARIABLE.findall(json.dumps(service))}
        for variable, remedy in VARIABLE.findall(json.dumps(service)):
            if not remedy:
                say(f"{variable} may be empty")
    for volume in set(compose["volumes"]) - used:
        found.append(f"volume {volume} is not used")
    variables |= {secret["environment"] for secret in compose["secrets"].values()}
    for variable in variables ^ set(env):
        found.append(f"{variable} is in only one of docker-compose.yml and .env.example")
    for variable, value in env.items():
        if value:
            found.append(f"{variable} has a default")
    return found


def dashboard_problems(all_dashboards, all_sources):
    """What is wrong with the dashboards."""
    found = []
    uids = [dashboard["uid"] for dashboard in all_dashboards.values()]
    if len(set(uids)) < len(uids):
        found.append("a uid stands twice")
    for file, dashboard in all_dashboards.items():
        panels = dashboard["panels"]
        for key in ("id", "title"):
            values = [panel[key] for panel in panels]
            if len(set(values)) < len(values):
                found.append(f"{file}: a panel's {key} stands twice")
        if not dashboard["description"]:
            found.append(f"{file}: no description")
        variables = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
        asked = [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
        cells = set()
        for panel in panels:

            def say(problem):
                found.append(f"{file}: {panel['title']}: {problem}")

            defaults = panel["fieldConfig"]["defaults"]
            if not panel.get("description"):
                say("no description")
            if not defaults.get("unit"):
                say("no unit")
            if not defaults.get("thresholds", {}).get("steps"):
                say("no thresholds")
            if panel["type"] in ("table", "timeseries") and not defaults.get("noValue"):
                say("says nothing where there is nothing")
            at = panel["gridPos"]
            if at["x"] + at["w"] > 24:
                say("is wider than the page")
            own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            if own & cells:
                say("lies over another")
            cells |= own
            refs = [target["refId"] for target in panel["targets"]]
            if not refs or len(set(refs)) < len(refs):
                say("no target, or two of one name")
            for target in panel["targets"]:
                source = all_sources.get(target["datasource"]["uid"], {})
                if source.get("type") != target["datasource"]["type"]:
                    say(f"asks {target['datasource']}, which is not provisioned")
                if "rawSql" not in target:
                    continue
                asked.append(target)
                series = panel["type"] == "timeseries"
                if (target["queryType"], target["format"]) != (("timeseries", 0) if series else ("table", 1)):
                    say("has a format that does not fit")
                if series and not re.search(r"AS time\b.*ORDER BY time\b", target["rawSql"], re.DOTALL):
                    say("a series is not in the order of a column `time`")
                if series and "interval" not in panel:
                    say("has no shortest step")
        for query in asked:
            sql = re.sub(r", \$\w+\)", ")", query["rawSql"])  # the macro $__conditionalAll only looks at its variable
            for quote, name, form in re.findall(r"('?)\$\{?([a-z]\w*)(:\w+|)", sql):
                if name not in variables:
                    found.append(f"{file}: no variable {name}")
                # Values of a custom variable stand in the dashboard; all others are anybody's text.
                elif quote or (form != ":sqlstring" and variables[name] != "custom"):
                    found.append(f"{file}: {name} is not quoted by Grafana: {query['rawSql']}")
    return found


def user_problems(users, variables):
    """What is wrong with the users of ClickHouse; `variables` are those its service is given."""
    found = []
    profiles = users.find("profiles")
    for user in users.find("users"):

        def say(problem):
            found.append(f"{user.tag}: {problem}")

        networks = [ip.text for ip in user.findall("networks/ip")]
        if user.tag == "default":
            if networks != ["127.0.0.1", "::1"] or user.find("networks").get("replace") is None:
                say("can be reached from outside the container")
            continue
        password = user.find("password")
        if password is None or password.text or password.get("from_env") not in variables:
            say("its password does not come from the environment")
        grants = " ".join(grant.text for grant in user.findall("grants/query"))
        if not grants or re.search(r"\*\.\*|\bALL\b|WITH GRANT OPTION", grants):
            say("may everything")
        if user.tag == "grafana":
            profile = profiles.find(user.find("profile").text)
            if profile.find("readonly").text not in ("1", "2") or re.sub(r"GRANT SELECT ON \S+\s*", "", grants):
                say("may write")
    return found


class Compose(unittest.TestCase):
    def setUp(self):
        self.compose = read_yaml("docker-compose.yml")
        self.dockerfile = read("Dockerfile")
        self.env = env_example()

    def problems(self, change=lambda compose: None):
        compose = copy.deepcopy(self.compose)
        change(compose)
        return compose_problems(compose, self.dockerfile, self.env)

    def test_it_is_sound(self):
        self.assertEqual(self.problems(), [])

    def test_what_would_be_wrong_is_found(self):
        def of(service, key, value):
            return lambda compose: compose["services"][service].update({key: value})

        for change in [
            of("kafka", "image", "apache/kafka"),
            of("kafka", "image", "apache/kafka:latest"),
            of("kafka", "ports", ["9092:9092"]),
            of("grafana", "ports", ["0.0.0.0:3000:3000"]),
            of("grafana", "volumes", ["./no/such/file:/etc/x:ro"]),
            of("grafana", "volumes", ["./dashboards:/etc/x"]),
            of("grafana", "volumes", ["elsewhere:/etc/x"]),
            of("grafana", "environment", {"GF_SECURITY_ADMIN_PASSWORD": "admin"}),
            of("grafana", "environment", {"GF_SECURITY_ADMIN_PASSWORD": "${GRAFANA_ADMIN_PASSWORD}"}),
            of("grafana", "depends_on", {"nobody": {"condition": "service_healthy"}}),
            of("squall", "depends_on", {"topics": {"condition": "service_healthy"}}),
            of("squall", "cap_drop", []),
            of("squall", "privileged", True),
            of("squall", "environment", {"A": "${NOT_IN_EXAMPLE:?}"}),
            of("prometheus", "read_only", True),
            lambda compose: compose["services"]["clickhouse"].pop("healthcheck"),
            lambda compose: compose["services"]["clickhouse"].pop("mem_limit"),
            lambda compose: compose["volumes"].update({"unused": None}),
        ]:
            self.assertNotEqual(self.problems(change), [])
        self.env["GRAFANA_ADMIN_PASSWORD"] = "admin"
        self.assertNotEqual(self.problems(), [])
        with self.assertRaises(yaml.YAMLError):
            yaml.load("a: 1\na: 2", Strict)

    def test_kafka_keeps_what_exactly_once_rests_on(self):
        kafka = self.compose["services"]["kafka"]["environment"]
        self.assertGreater(
            int(kafka["KAFKA_OFFSETS_RETENTION_MINUTES"]), 60 * int(kafka["KAFKA_LOG_RETENTION_HOURS"])
        )
        self.assertGreaterEqual(int(kafka["KAFKA_OFFSET_METADATA_MAX_BYTES"]), 4096)
        # A new cluster must be a new epoch.
        squall = self.compose["services"]["squall"]["environment"]
        self.assertEqual(squall["SQUALL_KAFKA__EPOCH"], kafka["CLUSTER_ID"])

    def test_squall_is_configured_with_what_it_is_given(self):
        service = self.compose["services"]["squall"]
        for name in re.findall(r'^[^#\n]*"env:(\w+)"', read("deploy/squall.toml"), re.MULTILINE):
            self.assertIn(name, service["environment"])
        for line in read("deploy/squall.toml").splitlines():
            if SECRET.match(line):
                self.assertRegex(line, r'= "env:\w+"$')


class Image(unittest.TestCase):
    def setUp(self):
        self.lines = read("Dockerfile").replace("\\\n", " ").splitlines()

    def of(self, word):
        return [line.split()[1:] for line in self.lines if line.split()[:1] == [word]]

    def test_it_is_pinned_and_nobody_in_it_is_root(self):
        for image in self.of("FROM"):
            self.assertRegex(image[0], PINNED)
        self.assertEqual(self.of("USER")[-1], ["10001:10001"])
        self.assertRegex(" ".join(self.lines), r"cargo build --locked --release")

    def test_what_it_copies_is_there_and_sent(self):
        ignored = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
        self.assertEqual(ignored[0], "*")
        sent = {line[1:] for line in ignored[1:]}
        copied = set()
        for words in self.of("COPY"):
            if not words[0].startswith("--from"):
                copied |= {word for word in words[:-1] if not word.startswith("--")}
        self.assertEqual(copied, sent)
        for path in copied:
            self.assertTrue((ROOT / path).exists(), path)


class Environment(unittest.TestCase):
    def test_passwords_are_random_and_kept_from_git(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "scripts").mkdir()
            shutil.copy(ROOT / "scripts/make-env.sh", folder / "scripts")
            shutil.copy(ROOT / ".env.example", folder)

            def make():
                return subprocess.run([folder / "scripts/make-env.sh"], capture_output=True)

            written = []
            for _ in range(2):
                self.assertEqual(make().returncode, 0)
                env = folder / ".env"
                self.assertEqual(env.stat().st_mode & 0o777, 0o600)
                lines = [line for line in env.read_text().splitlines() if line and not line.startswith("#")]
                written.append(dict(line.split("=", 1) for line in lines))
                self.assertEqual(make().returncode, 1, "it must not overwrite")
                env.unlink()
        self.assertEqual(set(written[0]), set(env_example()))
        for name, value in written[0].items():
            self.assertRegex(value, r"^[\w-]{22}$" if name == "KAFKA_CLUSTER_ID" else r"^\w{40}$")
            self.assertNotEqual(value, written[1][name])
        self.assertIn("/.env", read(".gitignore").splitlines())


class ClickHouse(unittest.TestCase):
    def test_users_may_only_what_they_need(self):
        given = read_yaml("docker-compose.yml")["services"]["clickhouse"]["environment"]
        users = ElementTree.fromstring(read("deploy/clickhouse/users.d/squall.xml"))
        ElementTree.fromstring(read("deploy/clickhouse/config.d/squall.xml"))
        self.assertEqual(user_problems(users, given), [])

        def changed(path, **change):
            other = copy.deepcopy(users)
            node = other.find(path)
            if "text" in change:
                node.text = change["text"]
            else:
                node.attrib.clear()
            return user_problems(other, given)

        self.assertNotEqual(changed("users/squall/password", text="squall"), [])
        self.assertNotEqual(changed("users/grafana/password"), [])
        self.assertNotEqual(changed("users/default/networks"), [])
        self.assertNotEqual(changed("users/default/networks/ip", text="::/0"), [])
        self.assertNotEqual(changed("users/squall/grants/query", text="GRANT ALL ON *.*"), [])
        self.assertNotEqual(changed("users/grafana/grants/query", text="GRANT INSERT ON squall.*"), [])
        self.assertNotEqual(changed("profiles/grafana/readonly", text="0"), [])


class Grafana(unittest.TestCase):
    def test_dashboards_are_sound(self):
        self.assertEqual(dashboard_problems(dashboards(), sources()), [])

    def test_what_would_be_wrong_is_found(self):
        def of_panel(key, value):
            return lambda dashboard: dashboard["panels"][1].update({key: value})

        def of_query(sql):
            return lambda dashboard: dashboard["panels"][1]["targets"][0].update({"rawSql": sql})

        for change in [
            of_panel("id", 1),
            of_panel("description", ""),
            of_panel("gridPos", {"x": 0, "y": 0, "w": 24, "h": 9}),
            of_panel("gridPos", {"x": 13, "y": 500, "w": 12, "h": 9}),
            of_panel("targets", []),
            of_panel("type", "timeseries"),
            of_panel("fieldConfig", {"defaults": {}, "overrides": []}),
            of_query("SELECT ${nobody:sqlstring}"),
            of_query("SELECT '$entity'"),
            of_query("SELECT * FROM mentions WHERE entity = ${entity}"),
            of_query("SELECT * FROM mentions WHERE $__conditionalAll(entity IN (${watch}), $watch)"),
            lambda dashboard: dashboard["panels"][1]["targets"][0]["datasource"].update({"uid": "elsewhere"}),
            lambda dashboard: dashboard.update({"uid": "squall-operations"}),
        ]:
            changed = dashboards()
            change(changed["risk.json"])
            self.assertNotEqual(dashboard_problems(changed, sources()), [])

    def test_provisioning_fits_the_mounts_and_keeps_secrets_out(self):
        service = read_yaml("docker-compose.yml")["services"]["grafana"]
        mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
        self.assertEqual(mounts["./deploy/grafana/provisioning"], "/etc/grafana/provisioning")
        (provider,) = read_yaml("deploy/grafana/provisioning/dashboards/squall.yml")["providers"]
        self.assertEqual(provider["options"]["path"], mounts["./dashboards"])
        home = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertIn(Path(home).name, dashboards())
        self.assertEqual(str(Path(home).parent), mounts["./dashboards"])
        self.assertEqual(len(sources()), 2)
        for source in sources().values():
            for value in source.get("secureJsonData", {}).values():
                self.assertIn(value.removeprefix("$"), service["environment"])


class Prometheus(unittest.TestCase):
    def test_it_scrapes_squall_with_the_token(self):
        compose = read_yaml("docker-compose.yml")
        config = read_yaml("deploy/prometheus/prometheus.yml")
        for file in config["rule_files"]:
            self.assertTrue((ROOT / "deploy/prometheus" / file).exists())
        job = next(job for job in config["scrape_configs"] if job["job_name"] == "squall")
        (secret,) = compose["services"]["prometheus"]["secrets"]
        self.assertEqual(job["authorization"]["credentials_file"], f"/run/secrets/{secret}")
        (target,) = job["static_configs"][0]["targets"]
        self.assertRegex(read("deploy/squall.toml"), rf'listen = "0\.0\.0\.0:{target.removeprefix("squall:")}"')

    def test_every_rule_says_what_to_do(self):
        for group in read_yaml("deploy/prometheus/alerts.yml")["groups"]:
            for rule in group["rules"]:
                self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
                self.assertTrue(rule["annotations"]["summary"] and rule["annotations"]["description"])
                tested = read("tests/data/alerts_test.yml")
                self.assertIn(f'alertname="{rule["alert"]}"', tested)
                self.assertIn(f"alertname: {rule['alert']},", tested)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not there (Debian: apt install prometheus)")
    def test_promtool_agrees(self):
        for arguments in [
            ["check", "config", "--syntax-only", "deploy/prometheus/prometheus.yml"],
            ["check", "rules", "deploy/prometheus/alerts.yml"],
            ["test", "rules", "tests/data/alerts_test.yml"],
        ]:
            done = subprocess.run(["promtool", *arguments], cwd=ROOT, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class HealthCheck(unittest.TestCase):
    """deploy/squall-ready against a server that answers as squall does."""

    def check(self, status, token="right"):
        class Handler(http.server.BaseHTTPRequestHandler):
            wbufsize = -1

            def do_GET(self):
                known = self.headers["Authorization"] == "Bearer right"
                self.send_response(status if known and self.path == "/readyz" else 401)
                self.end_headers()
                self.wfile.write(b'{"detail": "not ready: store: wrong password"}')

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            return self.run_against(server.server_address[1], token)
        finally:
            server.shutdown()
            server.server_close()

    def run_against(self, port, token="right"):
        environment = {**os.environ, "SQUALL_READY_PORT": str(port), "SQUALL_API_TOKEN": token}
        script = ROOT / "deploy/squall-ready"
        return subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60)

    def test_it_tells_ready_from_not(self):
        self.assertEqual(self.check(200).returncode, 0)
        not_ready = self.check(503)
        self.assertNotEqual(not_ready.returncode, 0)
        self.assertIn("wrong password", not_ready.stdout)
        self.assertNotEqual(self.check(200, token="wrong").returncode, 0)
        self.assertNotEqual(self.run_against(1).returncode, 0)


if __name__ == "__main__":
    unittest.main()
