# Makes the two layers of the data stores' images: Debian's Postgres, PgBouncer and Redis in Debian's own places; and,
# above it, the same programs where the official images for Alpine have them.
# $1: a folder to work in, $2 and $3: the layers' files. Their users get the numbers of the official images.
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

upper="$1/alpine"
versioned=usr/lib/postgresql/15
mkdir -p "$upper/etc" "$upper/usr/bin" "$upper/usr/sbin" "$upper/usr/local/bin" "$upper/usr/local/lib" "$upper/$versioned"
cp -a "$root/$versioned/bin/." "$root"/usr/bin/redis-cli "$upper/usr/local/bin/"
# Debian's server is a link to a program of another name.
cp -L "$root/usr/bin/redis-server" "$upper/usr/local/bin/redis-server"
cp -a "$root/usr/sbin/pgbouncer" "$upper/usr/bin/pgbouncer"
# Libraries are found beside the folder of the programs.
cp -a "$root/$versioned/lib/." "$upper/usr/local/lib/"
sed -e 's/^postgres:x:[0-9]*:[0-9]*:/postgres:x:70:70:/' -e 's/^redis:x:[0-9]*:[0-9]*:/redis:x:999:1000:/' \
    "$root/etc/passwd" > "$upper/etc/passwd"
sed -e 's/^postgres:x:[0-9]*:/postgres:x:70:/' -e 's/^redis:x:[0-9]*:/redis:x:1000:/' "$root/etc/group" > "$upper/etc/group"
# Files of these names say that those below are not there.
touch "$upper/$versioned/.wh.bin" "$upper/$versioned/.wh.lib" "$upper/usr/bin/.wh.bash" "$upper/usr/sbin/.wh.pgbouncer"
for program in "$root"/usr/bin/redis-*; do
    touch "$upper/usr/bin/.wh.$(basename "$program")"
done
tar --sort=name --numeric-owner --directory "$upper" --create --file "$3" .
