#!/bin/sh
# Puts folders of this installation where their environments and units look for them, with the models, the units
# and the folders to write in that they need. As root, on the machine of these roles, for example:
#   sh place.sh redis api attestor courier
# Given again it puts newer files over older ones; what the roles wrote stays. Nothing is started.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
state=/var/lib/countersign

for folder in "$@"; do
  [ -d "$here/$folder" ] && [ -f "$here/systemd/countersign-$folder.service" ] && continue
  echo "error: $here has no folder $folder with a unit in systemd" >&2
  echo "hint: copy the folder, place.sh, systemd and models from where countersign init made them" >&2
  exit 2
done

id -u countersign > /dev/null 2>&1 ||
  useradd --system --user-group --home-dir "$state" --shell /usr/sbin/nologin countersign
own() { install -d -m 700 -o countersign -g countersign "$@"; }
writes_of() { sed -n 's/^ReadWritePaths=//p' "$@" | tr ' ' '\n'; }
install -d -m 755 /etc/countersign /etc/systemd/system "$state"

for folder in "$@"; do
  own "/etc/countersign/$folder"
  cp -Rp "$here/$folder/." "/etc/countersign/$folder"
  chown -R countersign:countersign "/etc/countersign/$folder"
  unit=$here/systemd/countersign-$folder.service
  cp "$unit" /etc/systemd/system/
  for written in $(writes_of "$unit"); do
    case $written in
    # Machines of workers mount the folders of their pools from where these roles see all of them.
    "$state"/blobs) own "$written" "$written/pools" $(writes_of "$here"/systemd/*.service | grep /pools/ || true) ;;
    "$state"/blobs/*) own "$state/blobs" "$state/blobs/pools" "$written" ;;
    *) own "$written" ;;
    esac
  done
  case $folder in
  attestor | worker-*) cp -R "$here/models" "$state/" ;;
  esac
done
systemctl daemon-reload
