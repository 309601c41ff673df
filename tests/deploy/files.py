"""What can be checked of the documented files without what they are for: a systemd, a Docker, a cluster."""

import re
import shutil
import subprocess

import yaml

from processes import DOCS, PING_INTERVAL, Server, expect, free_port, substitute


def run(binary, folder):
    check_settings(binary)
    check_unit(binary, folder)
    server = Server(binary, "one", folder, "--ping-interval", PING_INTERVAL)
    try:
        check_healthcheck(server)
        check_alerts(server)
    finally:
        server.stop()
    check_kubernetes(binary)


def settings(text):
    """The flags' values in a printed configuration, without the comments."""
    return dict(re.findall(r'^([a-z-]+) = "?([^"\s]+)"?', text, re.M))


def print_config(binary, *flags):
    ran = subprocess.run([binary, "chat", *flags, "--print-config"], capture_output=True, text=True)
    expect(ran.returncode == 0, f"switchboard chat {' '.join(map(str, flags))} is refused: {ran.stderr.strip()}")
    return settings(ran.stdout)


def seconds(text):
    expect(re.fullmatch(r"\d+s?", text), f"{text!r} isn't written in seconds")
    return int(text.rstrip("s"))


def check_drain(where, drain, until_killed):
    whole = seconds(drain["drain-delay"]) + seconds(drain["drain-timeout"])
    expect(whole + 5 <= until_killed,
           f"{where}: a drain may take {whole} s and the server is killed after {until_killed} s: leave 5 s between")


def check_settings(binary):
    documented = print_config(binary, "--config", DOCS / "switchboard.toml")
    unit = (DOCS / "switchboard.service").read_text()
    stated = dict(re.findall(r"^(TimeoutStopSec|LimitNOFILE)=(\w+)$", unit, re.M))
    expect(len(stated) == 2, "switchboard.service has no TimeoutStopSec= or no LimitNOFILE=")
    check_drain("switchboard.service", documented, seconds(stated["TimeoutStopSec"]))
    files = int(stated["LimitNOFILE"])
    # The connections that are being refused, and listeners, workers and the store; 5 % have to be free.
    needed = (int(documented["max-connections"]) + 1024 + 64) / 0.95
    expect(files >= needed, f"switchboard.service: LimitNOFILE={files} is less than the {needed:.0f} that are needed")


def check_unit(binary, folder):
    if not shutil.which("systemd-analyze"):
        return print("not run: systemd-analyze verify, there is no systemd here")
    unit = folder / "switchboard.service"
    unit.write_text(substitute("switchboard.service", {"/usr/local/bin/switchboard": str(binary)}))
    ran = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    # It also speaks of the system's other units.
    about_us = [line for line in ran.stderr.splitlines() if "switchboard" in line]
    expect(ran.returncode == 0 and not about_us, f"systemd-analyze verify: {ran.stderr.strip()}")


def check_healthcheck(server):
    """The Dockerfile's check says yes to a server that lives, and no to one that doesn't."""
    command = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", (DOCS / "Dockerfile").read_text(), re.M)
    expect(command, "the Dockerfile has no HEALTHCHECK with a CMD of the form [\"…\"]")
    program = yaml.safe_load(command[1])
    for port, expected in [(server.port, True), (free_port(), False)]:
        expect("127.0.0.1/9001" in program[-1], "the Dockerfile's HEALTHCHECK doesn't ask 127.0.0.1/9001")
        asked = [*program[:-1], program[-1].replace("127.0.0.1/9001", f"127.0.0.1/{port}")]
        ran = subprocess.run(asked, capture_output=True, text=True, timeout=10)
        is_healthy = ran.returncode == 0
        expect(is_healthy == expected,
               f"the Dockerfile's HEALTHCHECK ends with {ran.returncode} for a server that {'lives' if expected else 'is not there'}: {ran.stderr}")


# Families that /metrics shows only once they have a value.
LATER = {"switchboard_connections_refused_total", "switchboard_closes_total", "switchboard_http_requests_total"}


def check_alerts(server):
    """Each number that an alert looks at is one that the server shows."""
    source = (DOCS.parents[1] / "src" / "server" / "metrics.rs").read_text()
    for name in LATER:
        bare = name.removeprefix("switchboard_").removesuffix("_total")
        expect(f'"{bare}"' in source, f"src/server/metrics.rs has no {bare} any more, which an alert looks at")
    shown = set(re.findall(r"^# TYPE (\S+)", server.get("/metrics")[1], re.M)) | LATER | {"up"}
    alerts = yaml.safe_load((DOCS / "alerts.yaml").read_text())
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    expect(rules, "alerts.yaml has no rules")
    for rule in rules:
        for name in re.findall(r"\b(?:switchboard|process)_\w+", rule["expr"]):
            expect(name in shown, f"alerts.yaml: {rule['alert']} looks at {name}, which /metrics doesn't show")


def check_kubernetes(binary):
    kinds = {thing["kind"]: thing for thing in yaml.safe_load_all((DOCS / "kubernetes.yaml").read_text())}
    pod = kinds["Deployment"]["spec"]["template"]
    spec, [container] = pod["spec"], pod["spec"]["containers"]
    # The keys aren't here.
    flags = [flag for flag in container["args"][1:] if not flag.startswith("--api-key-file")]
    used = print_config(binary, *flags)
    check_drain("kubernetes.yaml", used, spec["terminationGracePeriodSeconds"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name, flag in [("chat", "listen"), ("admin", "admin-listen")]:
        expect(used[flag].endswith(f":{ports[name]}"), f"kubernetes.yaml: --{flag} isn't the port {name}")
    # Readiness is only at the administrators' address.
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ["startup", "liveness", "readiness"]}
    expect(probes["readiness"] == {"path": "/readyz", "port": "admin"}, "kubernetes.yaml: readiness is /readyz at admin")
    expect(all(probes[kind]["path"] == "/healthz" for kind in ["startup", "liveness"]),
           "kubernetes.yaml: whether it lives says /healthz")
    selector = kinds["Service"]["spec"]["selector"]
    expect(selector.items() <= pod["metadata"]["labels"].items(), "kubernetes.yaml: the Service finds no pod")
    targets = [port["targetPort"] for port in kinds["Service"]["spec"]["ports"]]
    expect(targets == ["chat"], f"kubernetes.yaml: the Service leads to {targets}, not to the chat alone")
