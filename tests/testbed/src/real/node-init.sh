# The first process of a node: everything that the node runs dies with it, as with a power cut.
# $1: the node's folder, which holds what outlives that.
set -eu
mount --make-rprivate /
# Programs keep state in fixed places; these are now the node's own.
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
containerd --config "$1/containerd.toml" >> "$1/containerd.log" 2>&1 &
# Orphans become our children; waiting takes note of their end.
while :; do
    sleep 3600 &
    wait $!
done
