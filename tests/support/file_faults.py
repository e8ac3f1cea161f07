"""What happens to files on bad days: a writer that is killed half-way, and something else in the place of a file."""
import os
import signal

from yum_plugin.errors import UsageError

STEPS = ("open", "fchmod", "fsync", "rename", "unlink", "makedirs")  # the system calls that write_whole makes
MORE_STEPS = STEPS + ("mkdir", "rmdir", "utime", "chmod", "sendfile", "listdir")  # and those that shutil makes


def in_child(action):
    """Run a function in a forked process; return its exit code (200 for a UsageError), negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
        except UsageError:
            os._exit(200)
        finally:
            os._exit(201)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def killed_at(step, action, calls=STEPS):
    """Run a function in a child that is killed before its ``step``-th system call; return whether it came so far."""
    def run():
        count = [0]

        def counting(original):
            def call(*arguments, **options):
                count[0] += 1
                if count[0] == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments, **options)
            return call

        for name in calls:
            setattr(os, name, counting(getattr(os, name)))
        action()

    code = in_child(run)
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def plant(path, kind):
    """Put something in the place of a file that is not a small regular file."""
    if kind == "link":
        path.with_name("target").write_bytes(b"{}")
        path.symlink_to(path.with_name("target"))
    elif kind == "dangling link":
        path.symlink_to(path.with_name("nowhere"))
    elif kind == "fifo":
        os.mkfifo(str(path))
    elif kind == "directory":
        path.mkdir()
    elif kind == "huge":
        with open(str(path), "wb") as stream:
            stream.truncate(1 << 40)
