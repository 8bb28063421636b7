"""Files of a Slack on loopback: where to upload to, the upload, its completion, what messages may show."""

import json
import re
from typing import Any

SECRET_PATH = "CwABAAAAnobodyLogsThis"  # the part of an upload's address that is its permission


class FileMethods:
    """The methods of the API; `self` has the workspace, and the request's path and headers."""

    workspace: Any
    path: str
    headers: Any

    def upload_url(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """A place for so many bytes; they come without a token, so the address is the permission."""
        slack, length = self.workspace, str(arguments.get("length", ""))
        if not arguments.get("filename") or not length.isdigit() or int(length) == 0:
            return {"ok": False, "error": "invalid_arguments"}
        if len(arguments.get("alt_txt", "")) > 1000:
            return {"ok": False, "error": "alt_txt_too_large"}
        file_id = f"F0STAND{next(slack.counter):05d}"
        slack.files[file_id] = {"name": arguments["filename"], "length": int(length), "body": None}
        slack.files[file_id] |= {"is_complete": False, "refused": 0, "channel": None}
        root = slack.url.removesuffix("/api/")
        return {"ok": True, "upload_url": f"{root}/upload/v1/{SECRET_PATH}{file_id}", "file_id": file_id}

    def upload(self, content: bytes) -> str:
        """The bytes of a file, as many as were announced; empty when the address is none."""
        file = self.workspace.files.get(self.path.rpartition(SECRET_PATH)[2])
        if file is None or len(content) != file["length"] or self.headers.get("Authorization"):
            return ""
        file["body"] = content
        return f"OK - {len(content)}"

    def complete(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Files in JSON, each uploaded; without a channel they stay the app's own."""
        slack, named = self.workspace, json.loads(arguments.get("files", "[]"))
        if not named or any(slack.files.get(one["id"], {}).get("body") is None for one in named):
            return {"ok": False, "error": "file_not_found"}
        for one in named:
            slack.files[one["id"]] |= {"is_complete": True, "channel": arguments.get("channel_id")}
        return {"ok": True, "files": [{"id": one["id"], "title": one.get("title")} for one in named]}

    def broken_file(self, arguments: dict[str, Any]) -> str:
        """Slack's words for the first image block whose file cannot be shown, or nothing."""
        for number, block in enumerate(arguments.get("blocks") or []):
            if block.get("type") != "image" or "slack_file" not in block:
                continue
            where = f"[json-pointer:/blocks/{number}/slack_file"
            named = block["slack_file"]
            if set(named) != {"id"} or not re.fullmatch(r"F[A-Z0-9]{8,}", named["id"]):
                return f"[ERROR] input must match regex pattern: ^[F][A-Z0-9]{{8,}}$ {where}/id]"
            file = self.workspace.files.get(named["id"])
            if file is None or not file["is_complete"] or file["refused"] < self.workspace.unprocessed:
                if file is not None:
                    file["refused"] += 1
                return f"[ERROR] invalid slack file {where}]"
        return ""
