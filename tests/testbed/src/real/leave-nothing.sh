# Waits until whoever runs the nodes is gone, and then removes what only the kernel knows of.
# $1: what the names of everything begin with.
# Kubelets set these for the whole machine.
tunables="vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes"
before=""
for name in $tunables; do before="$before $name=$(cat /proc/sys/$name)"; done

cat > /dev/null

for set in $before; do
    value="${set#*=}"
    [ "$(cat "/proc/sys/${set%%=*}")" = "$value" ] || echo "$value" > "/proc/sys/${set%%=*}"
done
# The processes die at this moment, hence the repetition, for a minute.
tries=240
while [ "$tries" -gt 0 ]; do
    tries=$((tries - 1))
    for dir in /sys/fs/cgroup/"$1"* /sys/fs/cgroup/*/"$1"*; do
        [ ! -d "$dir" ] || find "$dir" -depth -type d -exec rmdir {} + 2> /dev/null
    done
    for dir in /run/netns/"$1"*; do
        [ ! -e "$dir" ] || ip netns delete "${dir##*/}"
    done
    set -- "$1" /sys/fs/cgroup/"$1"* /sys/fs/cgroup/*/"$1"* /run/netns/"$1"*
    left=0
    for path in "$@"; do [ ! -e "$path" ] || left=1; done
    [ "$left" = 1 ] || break
    sleep 0.25
done
