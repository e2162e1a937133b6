#!/bin/sh
# vmcoretool capture hook: keeps what identifies a dump, even when saving the dump fails.
#
# Writes DIR/vmcoretool-notes.elf, a small ELF core made from /proc/vmcore: its headers, its notes,
# and the pages that prove where the hypervisor was: the page tables from the saved cr3 of CPUs to
# the image, the idle page table with its own, and the pages with Xen's version strings.  Where a
# page cannot be read, or time or room ends, it holds the notes alone.
#
# It is run in a crash kernel's initramfs: it needs a POSIX shell with 64-bit arithmetic, dd, od,
# mkdir, mv and rm, from busybox or coreutils.  It never fails: whatever happens, its exit status is 0, the dump is
# only read, and the file appears under its name when it is whole or not at all.
#
#   vmcoretool-capture DIR      the folder of the dump (SUSE: "$DIR")
#   vmcoretool-capture STATUS   a number: called by kdump as a post hook (RHEL, Fedora)
#
# The environment may set VMCORE (another file than /proc/vmcore), VMCORETOOL_SECONDS (its own
# time limit), VMCORETOOL_CONF (kdump.conf) and VMCORETOOL_MOUNTS (where dumps are saved).

vmcore=${VMCORE:-/proc/vmcore}
seconds=${VMCORETOOL_SECONDS:-60}
conf=${VMCORETOOL_CONF:-/etc/kdump.conf}
mounts=${VMCORETOOL_MOUNTS-}
name=vmcoretool-notes.elf
partial=.$name.$$
max_pages=64
max_notes=4194304
max_loads=4096
max_info=4096
LC_ALL=C
export LC_ALL
umask 077

say() {
    echo "vmcoretool-capture: $*" >&2
    # the journal of an initramfs is gone with it; what is on the console may be seen
    if [ -w /dev/kmsg ] && [ "$vmcore" = /proc/vmcore ]; then
        echo "vmcoretool-capture: $*" >/dev/kmsg 2>/dev/null
    fi
    return 0
}

# -- numbers: two words of 32 bits each, for shells clip a constant at 2^63-1 ---------------------

words() { # offset size: 32-bit words of the file, little-endian, in hexadecimal
    dd if="$vmcore" bs="$2" skip="$(($1 / $2))" count=1 2>/dev/null | od -An -v -tx4
}

bytes_at() { # offset size, any alignment: like words
    dd if="$vmcore" bs=4096 skip="$(($1 / 4096))" count="$((($1 % 4096 + $2 + 4095) / 4096))" \
        2>/dev/null | od -An -v -tx4 -j "$(($1 % 4096))" -N "$2"
}

quad() { # low high: sets q
    q=$(((0x$2 << 32) | 0x$1))
}

# -- the file's headers -----------------------------------------------------------------------------

read_headers() { # sets loads ("paddr size offset" each a line), notes_at, notes_size
    # shellcheck disable=SC2046 # words are wanted, here and below
    set -- $(words 0 64)
    case ${1-}:${2-} in
    464c457f:*0102) ;;
    *)
        say "$vmcore: no little-endian 64-bit ELF file"
        return 1
        ;;
    esac
    # words 8 and 9: e_phoff; 14: e_phnum in its lower half
    quad "$9" "${10}"
    shift 14
    read_table "$q" "$((0x$1 & 0xffff))"
}

read_table() { # offset, count
    if [ "$2" -eq 0 ] || [ "$2" -gt "$max_loads" ]; then
        say "an odd count of segments: $2"
        return 1
    fi
    loads='' notes_at=0 notes_size=0
    # shellcheck disable=SC2046
    set -- $(bytes_at "$1" "$(($2 * 56))")
    while [ "$#" -ge 14 ]; do
        quad "$3" "$4"
        offset=$q
        quad "$7" "$8"
        paddr=$q
        quad "$9" "${10}"
        if [ "$1" = 00000004 ] && [ "$notes_size" -eq 0 ]; then
            notes_at=$offset notes_size=$q
        elif [ "$1" = 00000001 ] && [ "$q" -gt 0 ]; then
            loads="$loads$paddr $q $offset
"
        fi
        shift 14
    done
    if [ "$notes_size" -eq 0 ] || [ "$notes_size" -gt "$max_notes" ]; then
        say "no notes, or too many: $notes_size bytes"
        return 1
    fi
}

# -- the notes ----------------------------------------------------------------------------------------

read_notes() { # sets cr3s, rips, strings, pgd_l4 (0: none)
    cr3s='' rips='' strings='' pgd_l4=0
    # shellcheck disable=SC2046
    set -- $(bytes_at "$notes_at" "$notes_size")
    while [ "$#" -ge 3 ]; do
        namesz=$(((0x$1 + 3) / 4)) descsz=$(((0x$2 + 3) / 4)) type=$3 size=$((0x$2))
        [ "$#" -ge "$((3 + namesz + descsz))" ] || break
        owner=''
        [ "$namesz" -eq 4 ] && owner="$4$5$6$7"
        shift "$((3 + namesz))"
        case $type:$size in
        01000002:32) quad "$5" "$6" && cr3s="$cr3s $q" ;;
        00000001:336)
            # rip is word 16 of 27 from byte 112 on: words of 32 bits 60 and 61
            shift 60
            quad "$1" "$2" && rips="$rips $q"
            descsz=$((descsz - 60))
            ;;
        01000001:72 | 01000001:80)
            note=0
            while [ "$note" -lt 7 ]; do
                quad "$1" "$2"
                [ "$note" -ge 2 ] && strings="$strings $q"
                note=$((note + 1))
                shift 2
            done
            descsz=$((descsz - 14))
            ;;
        00000000:*)
            # of "VMCOREINFO_XEN", not of Linux
            [ "$owner" = 4f434d564e494552585f4f4600004e45 ] && find_pgd_l4 "$descsz" "$@"
            ;;
        esac
        shift "$descsz"
    done
}

find_pgd_l4() { # how many, words of a VMCOREINFO_XEN: "SYMBOL(pgd_l4)=" by its characters
    text='' left=$1
    shift
    [ "$left" -le "$max_info" ] || left=$max_info
    while [ "$left" -gt 0 ]; do
        [ "$1" = 00000000 ] && break
        a=${1%??????} b=${1#??} c=${1#????} d=${1#??????}
        text="$text $d ${c%??} ${b%????} $a"
        shift
        left=$((left - 1))
    done
    #          S  Y  M  B  O  L  (  p  g  d  _  l  4  )  =
    rest=${text#* 53 59 4d 42 4f 4c 28 70 67 64 5f 6c 34 29 3d}
    [ "$rest" = "$text" ] && return
    high='' low=''
    for byte in $rest; do
        case $byte in
        3[0-9]) low=$low${byte#3} ;;
        61) low=${low}a ;; 62) low=${low}b ;; 63) low=${low}c ;;
        64) low=${low}d ;; 65) low=${low}e ;; 66) low=${low}f ;;
        *) break ;;
        esac
    done
    [ "${#low}" -eq 16 ] || return
    high=${low%????????} low=${low#????????}
    quad "$low" "$high"
    pgd_l4=$q
}

# -- memory -------------------------------------------------------------------------------------------

locate() { # machine address: sets at, its offset in the file
    while read -r start size offset; do
        if [ -n "$start" ] && [ "$1" -ge "$start" ] && [ "$1" -lt "$((start + size))" ]; then
            at=$((offset + $1 - start))
            return 0
        fi
    done <<EOF
$loads
EOF
    return 1
}

entry() { # table, slot: sets q to the entry
    locate "$(($1 + 8 * $2))" || return 1
    # shellcheck disable=SC2046
    set -- $(words "$at" 8)
    [ "$#" -eq 2 ] || return 1
    quad "$1" "$2"
}

frame_of() { # an entry: sets q to the machine address in it
    q=$(($1 & 0x000ffffffffff000))
}

keep() { # machine address: its page is to be stored, once
    frame_of "$1"
    case " $pages " in *" $q "*) return 0 ;; esac
    [ "$kept" -lt "$max_pages" ] || return 1
    locate "$q" || return 1
    [ "$((at % 4096))" -eq 0 ] || return 1
    pages="$pages $q"
    kept=$((kept + 1))
}

walk() { # root, virtual address: keeps the tables on the way; sets q to the machine address
    table=$1
    keep "$table" || return 1
    for shift_by in 39 30 21 12; do
        entry "$table" "$((($2 >> shift_by) & 511))" || return 1
        [ "$((q & 1))" -eq 1 ] || return 1
        if [ "$shift_by" -eq 12 ] || { [ "$((q & 128))" -ne 0 ] && [ "$shift_by" -ne 39 ]; }; then
            mask=$(((1 << shift_by) - 1))
            q=$(((q & 0x000ffffffffff000 & ~mask) | ($2 & mask)))
            return 0
        fi
        frame_of "$q"
        table=$q
        keep "$table" || return 1
        # the level 2 table maps the image: all its level 1 tables belong to the proof
        [ "$shift_by" -eq 30 ] && level_2=$table
    done
}

image_tables() { # level 2 table: keeps the level 1 tables it leads to
    locate "$1" || return 0
    # shellcheck disable=SC2046
    set -- $(words "$at" 4096)
    tables=0
    while [ "$#" -ge 2 ] && [ "$tables" -lt 16 ]; do
        if [ "$1" != 00000000 ]; then
            quad "$1" "$2"
            if [ "$((q & 129))" -eq 1 ]; then
                keep "$q"
                tables=$((tables + 1))
            fi
        fi
        shift 2
    done
    return 0
}

choose_pages() { # sets pages
    pages='' kept=0 level_2=0 roots=0
    for cr3 in $cr3s; do
        [ "$cr3" -ne 0 ] || continue
        frame_of "$cr3"
        root=$q
        if [ "$pgd_l4" -ne 0 ] && walk "$root" "$pgd_l4"; then
            frame_of "$q"
            idle=$q
            keep "$idle" && walk "$idle" "$pgd_l4"
        else
            # before 3.3 no note names the table; the saved cr3 is it
            for rip in $rips; do
                walk "$root" "$rip" && break
            done
        fi
        roots=$((roots + 1))
        [ "$roots" -lt 3 ] || break
    done
    [ "$level_2" -ne 0 ] && image_tables "$level_2"
    for string in $strings; do
        [ "$string" -ne 0 ] && keep "$string"
    done
    [ "$kept" -gt 0 ]
}

# -- the small file -----------------------------------------------------------------------------------

bytes() { # number, how many: appends octal escapes of its bytes, lowest first, to out
    number=$1 left=$2
    while [ "$left" -gt 0 ]; do
        byte=$((number & 255))
        out="$out\\$(((byte >> 6) * 100 + ((byte >> 3) & 7) * 10 + (byte & 7)))"
        number=$(((number >> 8) & 0x00ffffffffffffff))
        left=$((left - 1))
    done
}

header() { # type offset paddr size: a program header
    bytes "$1" 4
    bytes 0 4
    bytes "$2" 8
    bytes 0 8
    bytes "$3" 8
    bytes "$4" 8
    bytes "$4" 8
    bytes 0 8
}

write_headers() {
    out='\177ELF\2\1\1\0\0\0\0\0\0\0\0\0'
    bytes 4 2
    bytes 62 2
    bytes 1 4
    bytes 0 8
    bytes 64 8
    bytes 0 8
    bytes 0 4
    bytes 64 2
    bytes 56 2
    bytes "$((kept + 1))" 2
    bytes 0 6
    first=$((64 + 56 * (kept + 1)))
    header 4 "$first" 0 "$notes_size"
    first=$pages_at
    for page in $pages; do
        header 1 "$first" "$page" 4096
        first=$((first + 4096))
    done
    # shellcheck disable=SC2059 # it is a format: escapes are its point
    printf "$out"
}

write_pages() {
    # on a page boundary of the file, as in /proc/vmcore
    gap=$((pages_at - 64 - 56 * (kept + 1) - notes_size))
    if [ "$gap" -gt 0 ]; then
        dd if=/dev/zero bs="$gap" count=1 2>/dev/null || return 1
    fi
    for page in $pages; do
        locate "$page" || return 1
        dd if="$vmcore" bs=4096 skip="$((at / 4096))" count=1 2>/dev/null || return 1
    done
}

write_notes() {
    # in the largest blocks that begin where the notes do, then what is left
    block=4096
    while [ "$((notes_at % block))" -ne 0 ]; do
        block=$((block / 2))
    done
    whole=$((notes_size / block))
    left=$((notes_size % block / 4))
    if [ "$whole" -gt 0 ]; then
        dd if="$vmcore" bs="$block" skip="$((notes_at / block))" count="$whole" 2>/dev/null
    fi
    if [ "$left" -gt 0 ]; then
        dd if="$vmcore" bs=4 skip="$((notes_at / 4 + whole * block / 4))" count="$left" 2>/dev/null
    fi
}

size_of() { # file: sets size
    # with od, for wc is not everywhere: the last line is the offset of the end
    size=0
    for word in $(od -Ad -v -tx4 "$1" 2>/dev/null); do
        [ "${#word}" -eq 7 ] && size=$word
    done
    while [ "${size#0}" != "$size" ] && [ "${#size}" -gt 1 ]; do
        size=${size#0}
    done
}

store() { # folder: writes what was chosen
    # in a folder of its own: a file's name could be a link that somebody put there
    number=0
    until mkdir "$1/$partial.$number" 2>/dev/null; do
        number=$((number + 1))
        [ "$number" -lt 10 ] || return 1
    done
    own="$1/$partial.$number"
    pages_at=$((64 + 56 * (kept + 1) + notes_size))
    [ "$kept" -eq 0 ] || pages_at=$(((pages_at + 4095) & ~4095))
    { write_headers && write_notes && write_pages; } >"$own/$name" 2>/dev/null
    size_of "$own/$name"
    wanted=$((pages_at + 4096 * kept))
    # mv would put it into what a link of that name leads to
    [ ! -L "$1/$name" ] || rm -f "$1/$name"
    stored=1
    if [ "$size" -ne "$wanted" ] || [ -d "$1/$name" ] || ! mv -f "$own/$name" "$1/$name"; then
        stored=0
    fi
    rm -rf "$own"
    [ "$stored" -eq 1 ] || return 1
    say "$1/$name: notes and $kept pages"
}

work() { # folder
    read_headers || return 1
    [ "$((notes_at % 4))" -eq 0 ] || { say "odd place of notes"; return 1; }
    notes_size=$((notes_size / 4 * 4))
    pages='' kept=0
    if read_notes && choose_pages && store "$1"; then
        return 0
    fi
    say "without pages: they cannot be read, or there is no room"
    pages='' kept=0
    store "$1" || say "nothing could be written to $1"
}

# -- where to write -----------------------------------------------------------------------------------

mount_points() { # where kdump mounts what it saves to
    if [ -n "$mounts" ]; then
        echo "$mounts"
        return
    fi
    while read -r _ place _; do
        case $place in /sysroot | /sysroot/* | /kdumproot | /kdumproot/*) echo "$place" ;; esac
    done </proc/mounts
}

is_new() { # folder: was it made since this kernel started?  A clock that is behind makes old ones
    # look as if they were made in time to come
    made=$(date -r "$1" +%s 2>/dev/null) || return 1
    age=$((now - made))
    [ "$age" -ge -5 ] && [ "$age" -le "$((${up%%.*} + 5))" ]
}

newest_folder() { # kdump's post hooks are told nothing: the newest folder, or one of our own
    path=/var/crash
    if [ -r "$conf" ]; then
        # the last line may have no newline
        while read -r key value _ || [ -n "$key" ]; do
            [ "$key" = path ] && path=$value
        done <"$conf"
    fi
    found='' parent='' up=''
    now=$(date +%s 2>/dev/null) || now=''
    [ ! -r /proc/uptime ] || read -r up _ </proc/uptime
    for mount in $(mount_points); do
        [ -d "$mount$path" ] || continue
        parent=${parent:-$mount$path}
        for folder in "$mount$path"/*/; do
            folder=${folder%/}
            # an older crash's folder is not ours to write to, and its notes are not ours to replace
            if [ -z "$now" ] || [ -z "$up" ] || [ ! -d "$folder" ] || [ -L "$folder" ] ||
                [ -e "$folder/$name" ] || [ -L "$folder/$name" ] || ! is_new "$folder"; then
                continue
            fi
            # shellcheck disable=SC3013 # bash, dash and busybox know -nt
            if [ -z "$found" ] || [ "$folder" -nt "$found" ]; then
                found=$folder
            fi
        done
    done
    folder=$found
    if [ -z "$found" ]; then
        # the dump was not saved at all
        folder=${parent:+$parent/vmcoretool-$(date +%Y-%m-%d-%H:%M:%S 2>/dev/null || echo $$)}
        # one that is there already may be another crash's
        [ -z "$folder" ] || mkdir "$folder" 2>/dev/null || folder=''
    fi
}

# -- the time limit -----------------------------------------------------------------------------------

end_all() { # pid: ends a process and what it started, and that; a dd may hang in what it reads
    family=" $1 " grown=1
    while [ "$grown" -eq 1 ]; do
        grown=0
        for stat in /proc/[0-9]*/stat; do
            pid=${stat#/proc/}
            pid=${pid%/stat}
            case $family in *" $pid "*) continue ;; esac
            read -r line 2>/dev/null <"$stat" || continue
            # "pid (name) state parent ...", and the name may hold anything
            line=${line##*) ?}
            line=${line# }
            case $family in *" ${line%% *} "*) family="$family$pid " grown=1 ;; esac
        done
    done
    for pid in $family; do
        kill -9 "$pid" 2>/dev/null
    done
}

pause() { # adds what has passed, in fifths of a second, to passed
    if [ "$sleeps" -eq 1 ]; then
        sleep 0.2 2>/dev/null || { sleep 1; passed=$((passed + 4)); }
        passed=$((passed + 1))
    else
        # the clock is asked over and over: that costs speed, and no time limit would cost more
        read -r up _ </proc/uptime
        passed=$(((${up%%.*} - started) * 5))
    fi
}

main() {
    if [ "$(((0x12345678 << 32 | 0x9abcdef0) >> 36))" != 19088743 ]; then
        say "this shell has no 64-bit arithmetic"
        return 0
    fi
    for tool in dd od; do
        command -v "$tool" >/dev/null 2>&1 || { say "there is no $tool"; return 0; }
    done
    case ${1-} in
    '' | *[!0-9]*) folder=${1-} ;;
    *) newest_folder ;;
    esac
    if [ -z "$folder" ] || [ ! -d "$folder" ]; then
        say "there is no folder to write to"
        return 0
    fi
    case $folder in /*) ;; *) folder=./$folder ;; esac
    [ -r "$vmcore" ] || { say "$vmcore cannot be read"; return 0; }
    # storage may hang: the work is a process of its own, and is left behind when time ends
    work "$folder" &
    child=$!
    trap 'end_all "$child"' INT TERM HUP
    sleeps=1 started=0 passed=0
    if ! command -v sleep >/dev/null 2>&1; then
        sleeps=0
        read -r up _ 2>/dev/null </proc/uptime || { wait "$child"; return 0; }
        started=${up%%.*}
    fi
    while kill -0 "$child" 2>/dev/null; do
        if [ "$passed" -ge "$((seconds * 5))" ]; then
            end_all "$child"
            say "ended after $seconds s"
            rm -rf "$folder/$partial."* 2>/dev/null &
            return 0
        fi
        pause
    done
    wait "$child" 2>/dev/null
    return 0
}

main "$@"
exit 0
