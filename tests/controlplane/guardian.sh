# shellcheck shell=sh
# Ends a control plane once the program that started it is gone, however it went: a panic, an
# abort, kill -9, or an exit that never dropped its statics.
#
# stdin is a pipe whose other end only that program holds. Lines on it name the processes to look
# after ("watch PID") and those that it has already reaped itself ("forget PID"). When the pipe
# ends, whatever is still watched is killed and the control plane's folder is removed.
#
#   sh -c "$(cat guardian.sh)" guardian FOLDER [keep]
trap '' HUP INT QUIT TERM

watched=
while read -r verb pid; do
    case $verb in
    watch) watched="$watched $pid" ;;
    forget)
        rest=
        for other in $watched; do
            [ "$other" = "$pid" ] || rest="$rest $other"
        done
        watched=$rest
        ;;
    esac
done

for pid in $watched; do
    kill -KILL "$pid" 2>/dev/null
done
# They are not this shell's children, so there is nothing to wait(2) for. The bound is for
# containers whose first process reaps nobody, where the dead never disappear.
patience=100
for pid in $watched; do
    while kill -0 "$pid" 2>/dev/null && [ "$patience" -gt 0 ]; do
        patience=$((patience - 1))
        sleep 0.05
    done
done
[ "$2" = keep ] || rm -rf "$1"
