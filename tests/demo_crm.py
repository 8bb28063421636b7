"""`make demo-salesforce`, `make demo-hubspot`: the demo's company behind a CRM that answers on loopback.

The stand-in that the tests use serves the company's files in the CRM's own protocol; everything else is the
real thing: Airflow, the connection, the client, the jobs.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from threading import Event

from dealwatch.knobs import PROJECT
from dealwatch.launch.__main__ import main
from dealwatch.launch.demo import Demo, Server

HOST = "127.0.0.1"
CONNECTION = "AIRFLOW_CONN_DEMO"  # of the source's name


def serve_salesforce(folder: Path, port: int, now: datetime) -> None:
    from standins.salesforce import salesforce_server
    from standins.salesforce_drop import org_of_drop

    with salesforce_server(org_of_drop(folder, now=now), port=port):
        Event().wait()


def serve_hubspot(folder: Path, port: int, now: datetime) -> None:
    from standins.hubspot import hubspot_server
    from standins.hubspot_company import account_of

    with hubspot_server(account_of(folder, now=int(now.timestamp() * 1000)), port=port):
        Event().wait()


def to_salesforce(port: int) -> Mapping[str, str]:
    from standins.salesforce import CLIENT_ID, CLIENT_SECRET

    extra = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET}
    told = {"conn_type": "salesforce", "host": HOST, "port": port, "extra": extra}
    return {CONNECTION: json.dumps(told)}


def to_hubspot(port: int) -> Mapping[str, str]:
    from standins.hubspot import TOKEN

    return {
        CONNECTION: json.dumps(
            {"conn_type": "http", "host": f"http://{HOST}", "port": port, "password": TOKEN}
        )
    }


def server_of(key: str, name: str, connection: Callable[[int], Mapping[str, str]]) -> Server:
    def command(folder: Path, port: int, now: datetime) -> list[str]:
        return [sys.executable, __file__, key, "--serve", str(folder), str(port), now.isoformat()]

    return Server(name, command, connection)


def demo_of(key: str, name: str, connection: Callable[[int], Mapping[str, str]], how: str) -> Demo:
    home = home_of(key)
    home = home.relative_to(Path.cwd()) if home.is_relative_to(Path.cwd()) else home
    return Demo(
        command=f"make demo-{key}",
        afresh=f"make fresh demo-{key} DEALWATCH_HOME={home}",
        ui=f"make ui DEALWATCH_HOME={home}",
        example=f"demo-{key}.toml",
        read=f"read {name} {how} into the ledger",
        server=server_of(key, name, connection),
    )


def home_of(key: str) -> Path:
    return Path(os.environ.get("DEALWATCH_HOME") or PROJECT / "var" / key)


SERVING = {"salesforce": serve_salesforce, "hubspot": serve_hubspot}
DEMOS = {
    "salesforce": demo_of("salesforce", "Salesforce", to_salesforce, "by its Bulk API"),
    "hubspot": demo_of("hubspot", "HubSpot", to_hubspot, "page by page"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crm", choices=DEMOS)
    parser.add_argument("--serve", nargs=3, metavar=("FOLDER", "PORT", "NOW"), help="only be the CRM")
    options, rest = parser.parse_known_args()
    if options.serve:
        where, number, moment = options.serve
        SERVING[options.crm](Path(where), int(number), datetime.fromisoformat(moment))
    home = home_of(options.crm)
    sys.exit(main(["--home", str(home), "run", *rest], demo=DEMOS[options.crm]))
