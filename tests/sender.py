"""A sender that can be killed: `python tests/sender.py SETTINGS_JSON NOW` delivers at a fixed moment."""

import json
import sys
from datetime import datetime

from pydantic import SecretStr

from dealwatch.delivery.outbox import deliver
from dealwatch.settings import Settings
from dealwatch.warehouse import connect

if __name__ == "__main__":
    values = json.loads(sys.argv[1])
    for name in ("slack_token", "warehouse_url"):
        values[name] = SecretStr(values[name])
    settings = Settings.model_validate(values)
    moment = datetime.fromisoformat(sys.argv[2])
    print(deliver(connect(settings), settings=settings, now=lambda: moment))
