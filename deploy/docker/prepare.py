"""Prepares the volumes of a compose project: makes the passwords, once, and gives NATS its folder.

    python prepare.py          (as root with CAP_CHOWN, before any other container starts)

Each folder in /passwords is a volume that one service mounts, named after the user whose password is in it. Besides,
`nats` gets all of them as the variables that its configuration names, and `dialogue` a file for libpq's PGPASSFILE.
What is there is kept: a restart changes no password.
"""

import os
import secrets
from pathlib import Path

FOLDER = Path("/passwords")
UID = 10001
#: postgres:17-alpine runs as this user.
POSTGRES_UID = 70


def main() -> None:
    """Fills every folder."""
    users = sorted(path.name for path in FOLDER.iterdir() if path.name != "nats")
    for user in users:
        gid = POSTGRES_UID if user == "postgres" else UID
        # A letter first: nats-server reads a password as it reads its configuration, 1e6 as a number.
        keep(FOLDER / user / "password", f"hb{secrets.token_hex(16)}", mode=0o440, gid=gid)
    told = {user: (FOLDER / user / "password").read_text().strip() for user in users}
    variables = [f"export HALFBEAT_NATS_{name.upper()}_PASSWORD={told[name]}" for name in users if name != "postgres"]
    keep(FOLDER / "nats" / "passwords.env", "\n".join(variables), mode=0o440, gid=UID)
    # libpq and asyncpg ignore this file when others than its owner may read it.
    keep(FOLDER / "dialogue" / "pgpass", f"*:*:*:halfbeat:{told['postgres']}", mode=0o400, uid=UID, gid=UID)
    os.chown("/data", UID, UID)


def keep(file: Path, text: str, *, mode: int, gid: int, uid: int = 0) -> None:
    """Writes the file, whole or not at all, unless it is there."""
    if file.exists():
        return
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text + "\n")
    new.chmod(mode)
    os.chown(new, uid, gid)
    new.rename(file)


if __name__ == "__main__":
    main()
