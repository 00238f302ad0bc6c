# Makes the one layer of the data stores' image: Debian's Postgres, PgBouncer and Redis in Debian's own places.
# $1: a folder to work in, $2: the layer's file. Its users get the numbers of the official images.
set -eu
root="$1/root"
debootstrap --variant=minbase --include=postgresql-15,redis-server,pgbouncer bookworm "$root" > "$1/debootstrap.log"
chroot "$root" usermod --uid 999 postgres
chroot "$root" groupmod --gid 999 postgres
# Half of its size: compiled queries, which Postgres does without, and what nobody reads here.
rm -rf "$root"/usr/lib/*-linux-gnu/libLLVM* "$root"/usr/lib/postgresql/15/lib/*jit* \
    "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/info \
    "$root"/var/cache/apt "$root"/var/lib/apt "$root"/var/lib/postgresql "$root"/etc/postgresql
mkdir "$root/data"
tar --sort=name --numeric-owner --directory "$root" --create --file "$2" .
