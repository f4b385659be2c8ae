# SPDX-License-Identifier: MPL-2.0
"""The listener on booted hosts: in its sandbox, as its own user, with TLS, passwords, unix sockets and systemd's sockets."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from agenthost import AgentHost
from labkit.host import wait_for
from labs import EVERY_SUITE
from saving import DROP_IN, told, untouched

HOME = "/etc/kea-agent/tls"
WEB = f"{HOME}/web.yml"
UNIT = "/etc/systemd/system/kea-agent.socket"
URL = "https://localhost:9673"
# "s3cret", at the cost that the documentation names.
HASH = "$2y$10$qs23MUhQshjWvw.4cQRyM.YFbZ6lkKyYt6zn79fc2aKCiibPX90H2"
CONFIG = f"""
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [scraper.example]
basic_auth_users:
  prometheus: {HASH}
"""
PKI = f"""set -eu
mkdir -p {HOME}; cd {HOME}
key() {{ openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }}
issue() {{ key "$1.key"; openssl req -new -key "$1.key" -subj "/CN=$1" -addext "subjectAltName=$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out "$1.pem"; }}
key ca.key; openssl req -x509 -key ca.key -subj /CN=ca -days 2 -out ca.pem
issue server DNS:localhost; issue renewed DNS:localhost; issue scraper DNS:scraper.example; issue other DNS:other.example
chown _kea server.key renewed.key; chmod 0400 ./*.key
"""

pytestmark = pytest.mark.parametrize("host", EVERY_SUITE, indirect=True)


@pytest.fixture(autouse=True)
def _as_before(host: AgentHost) -> Iterator[None]:
    yield
    host.node.run(["sh", "-c", f"rm -rf {HOME} {DROP_IN} {UNIT}"])
    for unit in ("kea-agent.socket", "kea-agent"):
        host.node.run(["systemctl", "stop", unit], check=False)
    host.node.systemctl("daemon-reload")
    host.node.systemctl("reset-failed")
    host.node.systemctl("start", "kea-agent")
    served(host, "http://127.0.0.1:9673/metrics")


def curl(host: AgentHost, *words: str) -> str:
    """The HTTP status of an answer, 000 if there was none."""
    command = ["curl", "--silent", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}", *words]
    return host.node.run(command, check=False).stdout


def scrape(host: AgentHost, who: str = "scraper", password: str = "s3cret") -> str:
    """As Prometheus would, with a certificate and a password."""
    words = ["--cacert", f"{HOME}/ca.pem", "--user", f"prometheus:{password}"]
    mine = ["--cert", f"{HOME}/{who}.pem", "--key", f"{HOME}/{who}.key"] if who else []
    return curl(host, *words, *mine, f"{URL}/metrics")


def served(host: AgentHost, *words: str) -> None:
    """Wait until something is there."""
    for _ in wait_for(every=0.2):
        if curl(host, *words) == "200":
            return
    raise AssertionError(f"not served: {words}\n{host.journal()[-2000:]}")


def configure(host: AgentHost, toml: str) -> None:
    """Have these settings hold; systemd's reload ends when the agent has its signal, which is before that."""
    host.node.run(["mkdir", "-p", DROP_IN.rpartition("/")[0]])
    host.node.replace(DROP_IN, toml)
    with told(host, "settings read again"):
        host.node.systemctl("reload", "kea-agent")


def secure(host: AgentHost) -> None:
    host.node.run(["sh", "-c", PKI])
    host.node.replace(WEB, CONFIG)
    configure(host, f'[web]\nconfig_file = "{WEB}"\n')


def test_tls_a_client_certificate_and_a_password(host: AgentHost) -> None:
    with untouched(host):
        secure(host)
        assert scrape(host) == "200"
        assert scrape(host, password="wrong") == "401"
        assert scrape(host, who="other") == "000"
        assert scrape(host, who="") == "000"
        assert curl(host, "http://127.0.0.1:9673/metrics") == "000"


def certificate(host: AgentHost) -> str:
    connect = "openssl s_client -connect localhost:9673 -servername localhost </dev/null 2>/dev/null"
    return host.node.run(["sh", "-c", f"{connect} | openssl x509 -noout -subject"]).stdout


def test_a_renewed_certificate_needs_no_reload(host: AgentHost) -> None:
    secure(host)
    assert "server" in certificate(host)
    with untouched(host), told(host, f"{WEB}: read again"):
        host.node.run(["sh", "-c", f"cd {HOME}; mv renewed.key server.key; mv renewed.pem server.pem"])
        assert "renewed" in certificate(host)
    assert scrape(host) == "200"


def test_a_wrong_file_is_said_and_the_old_one_goes_on(host: AgentHost) -> None:
    secure(host)
    problem = f'{WEB}: tls_server_config.cert_fil: unknown key (did you mean "cert_file"?)'
    with untouched(host), told(host, problem):
        host.node.replace(WEB, CONFIG.replace("cert_file", "cert_fil"))
        assert scrape(host) == "200"
        assert host.node.run(["systemctl", "reload", "kea-agent"], check=False).returncode != 0
        assert scrape(host) == "200"
    assert problem in host.node.run(["kea-agent", "run", "--test"], check=False).stderr
    host.node.run(["systemctl", "restart", "kea-agent"], check=False)
    status = host.node.systemctl("show", "--property=ActiveState,ExecMainStatus,NRestarts", "kea-agent")
    assert {"ActiveState=failed", "ExecMainStatus=2", "NRestarts=0"} == set(status.split())
    host.wait_logged(problem)


def test_a_key_that_the_agent_may_not_read_is_named(host: AgentHost) -> None:
    secure(host)
    host.node.run(["chown", "root", f"{HOME}/renewed.key"])
    problem = f"{WEB}: tls_server_config.key_file: {HOME}/renewed.key: cannot be read: Permission denied"
    with told(host, problem):
        host.node.replace(WEB, CONFIG.replace("server.key", "renewed.key"))
        assert scrape(host) == "200"


def test_a_unix_socket_and_an_address_of_the_network(host: AgentHost) -> None:
    path, address = "/run/kea-agent/web.sock", f"{host.node.address}:9673"
    with untouched(host):
        configure(host, f'[web]\nlisten = ["unix:{path}", "{address}", "[{host.node.address6}]:9673"]\n')
        served(host, f"http://{address}/metrics")
        served(host, f"http://[{host.node.address6}]:9673/metrics")
        nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
        page = host.node.run([*nobody, "curl", "--silent", "--unix-socket", path, "http://localhost/metrics"]).stdout
        assert "kea_agent_build_info" in page
        assert curl(host, "http://127.0.0.1:9673/metrics") == "000"
    host.node.systemctl("kill", "--signal=KILL", "kea-agent")
    served(host, "--unix-socket", path, "http://localhost/metrics")


def test_sockets_of_systemd(host: AgentHost) -> None:
    """As docs/usage/web.md says it: a low port, without any capability."""
    host.node.systemctl("stop", "kea-agent")
    listen = f"ListenStream={host.node.address}:443\nListenStream=/run/kea-metrics.sock\nFreeBind=yes"
    host.node.write(UNIT, f"[Socket]\n{listen}\n[Install]\nWantedBy=sockets.target\n")
    host.node.systemctl("daemon-reload")
    host.node.systemctl("start", "kea-agent.socket")
    served(host, f"http://{host.node.address}:443/metrics")  # which starts the agent
    served(host, "--unix-socket", "/run/kea-metrics.sock", "http://localhost/metrics")
    assert curl(host, "http://127.0.0.1:9673/metrics") == "000"
    host.node.systemctl("reload", "kea-agent")
    host.node.systemctl("restart", "kea-agent")
    served(host, f"http://{host.node.address}:443/metrics")


# The verb.

NAMES = re.compile(r"^# TYPE (\S+) ", re.MULTILINE)


def test_the_verb_prints_what_a_scrape_has(host: AgentHost) -> None:
    page = host.node.run(["kea-agent", "metrics"]).stdout
    assert NAMES.findall(page) == NAMES.findall(host.metrics())
    done = host.node.run(["setpriv", "--reuid=nobody", "--clear-groups", "kea-agent", "metrics"], check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "only root" in done.stderr


def test_the_verb_works_with_tls_and_without_an_agent(host: AgentHost) -> None:
    with_agent = set(NAMES.findall(host.metrics()))
    secure(host)
    assert set(NAMES.findall(host.node.run(["kea-agent", "metrics"]).stdout)) == with_agent
    host.node.systemctl("stop", "kea-agent")
    page = host.node.run(["kea-agent", "metrics"]).stdout
    assert 'kea_up{daemon="dhcp4"} 1.0\n' in page
    assert "kea_agent_outcomes_total" not in page
    missing = with_agent - set(NAMES.findall(page))
    assert {name for name in missing if not name.startswith("kea_agent_")} == set()
    done = host.node.run(["setpriv", "--reuid=nobody", "--clear-groups", "kea-agent", "metrics"], check=False)
    assert (done.returncode, done.stdout) == (3, "")


def test_the_verb_replaces_a_file_as_a_whole(host: AgentHost) -> None:
    script = """set -e; umask 077; mkdir -p /tmp/textfile; cd /tmp/textfile; echo old > kea.prom
    kea-agent metrics --output kea.prom; stat -c %a kea.prom; ls -A; grep -c '^kea_up' kea.prom
    kea-agent metrics --output absent/kea.prom 2>&1 || echo $?"""
    mode, names, up, problem, code = host.node.run(["sh", "-c", script]).stdout.splitlines()
    assert (mode, names, int(up), code) == ("644", "kea.prom", 4, "3")
    assert problem.startswith("kea-agent: absent/kea.prom: cannot be written: No such file or directory")


def test_whoever_scrapes_without_a_pause_asks_kea_no_more_often(host: AgentHost) -> None:
    """After each time Kea has a rest, and everybody gets the last scrape: how many different ones there are tells."""
    script = (
        "for i in $(seq 200); do curl --silent --fail http://127.0.0.1:9673/metrics"
        " | grep '^kea_agent_asked_timestamp_seconds '; done"
    )
    asked = host.node.run(["sh", "-c", script], timeout=300).stdout.split()[1::2]
    assert len(asked) == 200
    assert len(set(asked)) < 50
    assert host.fresh_metrics(), "and it is asked again afterwards"


# Connects as often as it is told, says nothing, and stays.
SILENT = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
kept = []
for _ in range(int(sys.argv[1])):
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", 9673))
    kept.append(client)
print("there", flush=True)
time.sleep(600)
"""


def test_silent_connections_keep_nobody_out(host: AgentHost) -> None:
    with host.node.start(["python3", "-c", SILENT, "500"]) as crowd:
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == "there\n"
        for path in ("-/healthy", "metrics"):
            done = host.node.run(["curl", "--silent", "--fail", "--max-time", "60", f"http://127.0.0.1:9673/{path}"])
            assert done.stdout
        crowd.kill()
