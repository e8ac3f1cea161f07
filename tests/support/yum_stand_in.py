"""A stand-in of yum 3.4.3: what a plugin sees of it, and how it treats what a plugin sets. Python 2.7 and 3.

Written from yum's public behaviour, for machines without yum. It has no solver, no rpm, no gpg and no parallel downloads.
`make test-yum` runs the same tests on a real yum. These behaviours of the real one are copied, its errors included:

    plugins     hooks run in the order of file names, slot by slot; a plugin of another type is not loaded for API users; a .py
                without .conf prints two lines; an exception of a hook ends yum with a traceback, PluginYumExit with its
                message and exit code 1; conduit.getErrors() is another dictionary where there are no errors
    pretrans    runs after the download and the check of signatures, right before rpm, also for what no download has brought;
                conduit.getTsInfo().getMembers() has the members of the transaction (yum/__init__.py:runTransaction)
    lock        a command of root writes its process id to /var/run/yum.pid below the installroot, one of another user to
                yum.pid in the cache folder; the folder is made; a second yum waits for the first; the lock of a dead process
                or with bogus content is removed; API users take no lock by themselves (yum/__init__.py:doLock)
    options     [main] is inherited; yum-config-manager --save writes all that differs from the defaults
    metalink    its file is moved from where a file: URL says; timestamp, size and checksums are mandatory; one URL a host;
                baseurl comes first (yum/metalink.py, yumRepo.py:_getMetalink)
    metadata    a young cookie hides what is new and also the pin; cached metadata that fits the pin, or is newer, costs no
                request; if every mirror fails the old metadata is taken without a word (yumRepo.py:_revertOldRepoXML)
    downloads   a mirror is dropped after one failure that is not worth a retry, else asked ten times; both callbacks may
                raise or change what comes next; a partial file of one mirror is continued at the next one (urlgrabber)
    packages    an attribute that a package object does not have is a KeyError, "no such column: NAME", not an
                AttributeError, so that getattr(po, name, default) raises (sqlitesack.py:YumAvailablePackageSqlite); a local
                package raises ValueError; checksums are not looked at again after postdownload; --downloadonly skips it
    fastest     prelistenabledrepos runs once, at the first listEnabled(), and never returns if a hook calls that again

    python yum_stand_in.py -c YUM.CONF --installroot DIR [OPTIONS] COMMAND ...

Commands beside yum's own: ``api-check-update`` (in-process, as Xen Orchestra asks) and ``config-manager-save ID`` (writes the
options of a repository to its .repo file). STAND_IN_USER=UID makes it act as another user. At the end every option of every
repository is written to DIR/repos.json.
"""
from __future__ import print_function

import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import ssl
import sys
import time
import types
from xml.etree import ElementTree

try:
    import configparser
    from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener
except ImportError:  # Python 2.7
    import ConfigParser as configparser
    from urllib2 import HTTPSHandler, ProxyHandler, Request, build_opener

RETRIES = 10
TYPE_CORE, TYPE_INTERACTIVE = 0, 1
SLOTS = ("config", "postconfig", "init", "args", "prelistenabledrepos", "prereposetup", "postreposetup", "predownload",
         "postdownload", "pretrans", "clean", "close")
METALINK = "{http://www.metalinker.org/}"
MIRROR_MANAGER = "{http://fedorahosted.org/mirrormanager}"


class YumBaseError(Exception):
    """As yum.Errors has it."""


class RepoError(YumBaseError):
    """A repository cannot be used."""


class PluginYumExit(Exception):
    """A plugin ends yum."""

    def __init__(self, value="", translation_domain=""):
        Exception.__init__(self, value)
        self.value = value

    def __str__(self):
        return self.value


class GrabError(IOError):
    """urlgrabber's URLGrabError: (errno, text)."""


class Failure(object):
    """What urlgrabber hands to callbacks."""

    def __init__(self, **values):
        self.__dict__.update(values)


def checksum_of(kind, data):
    """Return a checksum in hex; yum calls SHA-1 "sha"."""
    return hashlib.new({"sha": "sha1"}.get(kind, kind), data).hexdigest()


def read(path):
    """Return the bytes of a file."""
    with open(path, "rb") as stream:
        return stream.read()


# What plugins import: yum, yum.plugins, yum.metalink, yum.Errors.

class MetaLinkFile(object):
    """The pin of a metalink: timestamp, size and checksums, all mandatory."""

    def __init__(self, element):
        self.timestamp = int(element.find(MIRROR_MANAGER + "timestamp").text)
        self.size = int(element.find(METALINK + "size").text)
        hashes = element.find(METALINK + "verification").findall(METALINK + "hash")
        self.chksums = dict((each.get("type").lower(), each.text) for each in hashes)


class MetaLinkRepoMD(object):
    """A metalink: the pin of repomd.xml and its mirrors, highest preference first, one a host."""

    def __init__(self, filename):
        root = ElementTree.parse(filename).getroot()
        entry = [each for each in root.findall(METALINK + "files/" + METALINK + "file") if each.get("name") == "repomd.xml"][0]
        self.repomd = MetaLinkFile(entry)
        self._mirrors = entry.findall(METALINK + "resources/" + METALINK + "url")
        self._mirrors.sort(key=lambda mirror: -int(mirror.get("preference", -1)))

    def urls(self):
        """Return base URLs; a host and port counts once, and a URL that ends in anything else is no mirror."""
        seen = {}
        for mirror in self._mirrors:
            if mirror.text.endswith("/repodata/repomd.xml"):
                seen.setdefault(mirror.text.split("/")[2], (len(seen), mirror.text[:-len("/repodata/repomd.xml")]))
        return [url for _, url in sorted(seen.values())]


def provide_modules():
    """Put the modules that a plugin imports where it finds them."""
    modules = dict((name, types.ModuleType(name)) for name in ("yum", "yum.plugins", "yum.metalink", "yum.Errors"))
    for name, module in modules.items():
        sys.modules[name] = module
        if "." in name:
            setattr(modules["yum"], name.split(".")[1], module)
    modules["yum"].__version__ = "3.4.3"
    for name in ("TYPE_CORE", "TYPE_INTERACTIVE", "PluginYumExit"):
        setattr(modules["yum.plugins"], name, globals()[name])
    modules["yum.metalink"].MetaLinkRepoMD = MetaLinkRepoMD
    modules["yum.Errors"].RepoError, modules["yum.Errors"].YumBaseError = RepoError, YumBaseError


# Repositories.

class Option(object):
    """One option of a .repo file: how to read it, and what it is if neither the file nor [main] has it."""

    def __init__(self, default, parse=str, tostring=str):
        self.default = default
        self.parse = parse
        self.tostring = tostring


def parse_flag(text):
    """Read a truth value."""
    return text.lower() in ("1", "yes", "true")


def parse_proxy(text):
    """Read proxy=; None is "_none_", no proxy at all."""
    return None if text.lower() == "_none_" else text


WORDS = (lambda text: text.replace(",", " ").split(), " ".join)
OPTIONS = {
    "name": Option(None), "enabled": Option(True, parse_flag, lambda value: str(int(value))), "baseurl": Option([], *WORDS),
    "mirrorlist": Option(None), "metalink": Option(None), "gpgkey": Option([], *WORDS), "gpgcheck": Option(False, parse_flag),
    "repo_gpgcheck": Option(False, parse_flag), "failovermethod": Option("roundrobin"), "proxy": Option(False, parse_proxy),
    "proxy_username": Option(None), "proxy_password": Option(None), "username": Option(None), "password": Option(None),
    "sslverify": Option(True, parse_flag), "sslcacert": Option(None), "sslclientcert": Option(None), "sslclientkey": Option(None),
    "ip_resolve": Option(None), "timeout": Option(30.0, float), "minrate": Option(0, int), "retries": Option(RETRIES, int),
    "metadata_expire": Option(21600, int), "skip_if_unavailable": Option(False, parse_flag),
}


class RepoMD(object):
    """A parsed repomd.xml."""

    def __init__(self, path):
        data = read(path)
        self.timestamp, self.length = 0, len(data)
        self.checksums = {"sha256": checksum_of("sha256", data), "sha512": checksum_of("sha512", data)}
        self.parts = {}
        for entry in ElementTree.fromstring(data):
            if entry.tag.endswith("}data"):
                values = dict((each.tag.split("}")[1], each) for each in entry)
                self.timestamp = max(self.timestamp, int(float(values["timestamp"].text)))
                self.parts[entry.get("type")] = (values["location"].get("href"), values["checksum"].get("type"), values["checksum"].text)


class MirrorGroup(object):
    """Fetches from the first mirror that can; what was set when it was made is what it uses."""

    def __init__(self, repo):
        self._repo = repo
        self._urls = list(repo.urls)
        context = ssl.create_default_context(cafile=repo.sslcacert)
        context.check_hostname = sys.version_info[0] > 2  # Python 2.7 knows no IP addresses in certificates
        proxies = {} if repo.proxy is None else {"http": repo.proxy, "https": repo.proxy} if repo.proxy else None
        self._opener = build_opener(HTTPSHandler(context=context), ProxyHandler(proxies))

    def urlgrab(self, relative, filename, check, resume=False):
        """Fetch a file; GrabError: no mirror had it."""
        mirrors, tries = list(self._urls), 0
        while mirrors:
            tries += 1
            url = mirrors[0].rstrip("/") + "/" + relative
            try:
                return self._retry(url, filename, check, resume)
            except GrabError as error:
                del mirrors[0]
                if self._repo.mirror_failure_obj is not None:
                    action = self._repo.mirror_failure_obj(
                        Failure(exception=error, url=url, filename=filename, tries=tries, relative_url=relative))
                    dict().update(action)
        raise GrabError(256, "No more mirrors to try.")

    def _retry(self, url, filename, check, resume):
        for tries in range(1, RETRIES + 1):
            try:
                self._fetch(url, filename, resume)
                return check(filename)
            except GrabError as error:
                if self._repo.failure_obj is not None:
                    self._repo.failure_obj(Failure(exception=error, url=url, tries=tries))
                if tries == RETRIES or error.errno not in (-1, 2, 4, 5, 6, 7):
                    raise

    def _fetch(self, url, filename, resume):
        """Fetch from one mirror; what came stays, and the next try goes on behind it."""
        have = os.path.getsize(filename) if resume and os.path.exists(filename) else 0
        headers = {"User-Agent": "urlgrabber/3.10 yum/3.4.3"}
        if have:
            headers["Range"] = "bytes={0}-".format(have)
        try:
            answer = self._opener.open(Request(url, headers=headers), timeout=self._repo.timeout)
            whole = answer.getcode() == 200
            with open(filename, "wb" if whole else "ab") as stream:
                shutil.copyfileobj(answer, stream)
            expected = answer.headers.get("Content-Length")
            if expected and os.path.getsize(filename) != int(expected) + (0 if whole else have):
                raise GrabError(14, "the connection closed early")
        except (EnvironmentError, ValueError, AttributeError) as error:  # of urllib, ssl, socket and http
            raise error if isinstance(error, GrabError) else GrabError(14, str(error))


class Repository(object):
    """yum.yumRepo.YumRepository, as far as plugins use it."""

    def __init__(self, repo_id, path, parser, main):
        self.id, self.repofile, self.cfg = repo_id, path, parser
        for name, option in OPTIONS.items():
            source = parser if parser.has_option(repo_id, name) else main
            section = repo_id if source is parser else "main"
            inherited = source is parser or name not in ("name", "enabled", "baseurl", "mirrorlist", "metalink", "gpgkey")
            given = inherited and source.has_option(section, name)
            setattr(self, name, option.parse(source.get(section, name)) if given else option.default)
        self._urls, self._grab, self._grabfunc, self._metalink, self._repoXML = [], None, None, None, None
        self.mirrorlistparsed, self._metadataCurrent, self.cache = 0, None, 0
        self.callback = self.failure_obj = self.mirror_failure_obj = None
        self.basecachedir, self.old = "", None

    @classmethod
    def optionobj(cls, name):
        """Return yum's description of an option."""
        return OPTIONS[name]

    def isEnabled(self):
        """Whether it is enabled."""
        return self.enabled

    def setFailureObj(self, callback):
        """Set what is called when a try failed."""
        self.failure_obj, self._grab = callback, None

    def setMirrorFailureObj(self, callback):
        """Set what is called when a mirror failed."""
        self.mirror_failure_obj, self._grab = callback, None

    @property
    def cachedir(self):
        """The folder of its cache, made on first use."""
        folder = os.path.join(self.basecachedir, self.id)
        for path in (folder, os.path.join(folder, "packages")):
            if not os.path.isdir(path):
                os.makedirs(path)
        return folder

    metadata_cookie = property(lambda self: os.path.join(self.cachedir, "cachecookie"))
    pkgdir = property(lambda self: os.path.join(self.cachedir, "packages"))

    def _get_metalink(self):
        """A metalink is fetched to metalink.xml.tmp and moved; of a file: URL nothing is copied, so the file itself goes."""
        if self._metalink is None:
            target = os.path.join(self.cachedir, "metalink.xml")
            fetched = self.metalink[len("file://"):]
            if not os.path.exists(fetched):
                raise RepoError("Cannot retrieve metalink for repository: " + self.id)
            self._metalink = MetaLinkRepoMD(fetched)
            shutil.move(fetched, target)
        return self._metalink

    metalink_data = property(_get_metalink, lambda self, value: setattr(self, "_metalink", value))

    def _get_urls(self):
        if not self._urls:
            if self.metalink and not self.mirrorlistparsed:
                found, self.mirrorlistparsed = self.metalink_data.urls(), True
            elif self.mirrorlist and not self.mirrorlistparsed:
                found, self.mirrorlistparsed = read(self.mirrorlist[len("file://"):]).decode("ascii").split(), True
            else:
                found = []
            self._urls = self.baseurl = list(self.baseurl) + found
        return self._urls

    urls = property(_get_urls, lambda self, value: setattr(self, "_urls", value))

    def check(self):
        """Complain if no URL is left."""
        if not self._urls:
            raise RepoError("Cannot find a valid baseurl for repo: " + self.id)

    def setupGrab(self):
        """Make the mirror group of the URLs of now."""
        self._grab = self._grabfunc = MirrorGroup(self)

    @property
    def grab(self):
        """The mirror group."""
        if self._grab is None:
            self.setupGrab()
        return self._grab

    @staticmethod
    def _checkRepoXMLMetalink(repomd, pin):
        same = repomd.timestamp == pin.timestamp and repomd.length == pin.size
        shared = [kind for kind in repomd.checksums if kind in pin.chksums]
        return bool(same and shared and all(repomd.checksums[kind] == pin.chksums[kind] for kind in shared))

    def metadataCurrent(self):
        """Whether the cached metadata is taken without asking; the answer is kept."""
        if self._metadataCurrent is None:
            cookie, cached = self.metadata_cookie, os.path.join(self.cachedir, "repomd.xml")
            young = os.path.exists(cookie) and os.stat(cookie).st_mtime + self.metadata_expire > time.time()
            if not young or not os.path.exists(cached):
                return False
            self._metadataCurrent = True
        return self._metadataCurrent

    def metadata(self):
        """Return the metadata in use; loaded on first use."""
        if self._repoXML is None:
            self._repoXML = self._load()
        return self._repoXML

    repoXML = property(metadata)

    def _load(self):
        local = os.path.join(self.cachedir, "repomd.xml")
        old = RepoMD(local) if os.path.exists(local) else None
        if self.cache or (old and self.metadataCurrent()):
            if old is None:
                raise RepoError("Cannot find repomd.xml file for " + self.id)
            return old
        if old and self.metalink:
            pin = self.metalink_data.repomd
            if old.timestamp > pin.timestamp or self._checkRepoXMLMetalink(old, pin):
                open(self.metadata_cookie, "w").close()
                return old
        try:
            new = self._download(local, old)
        except GrabError as error:
            if old is None:
                raise RepoError("failure: repodata/repomd.xml from {0}: {1}".format(self.id, error))
            return old  # in silence
        return new

    def _download(self, local, old):
        fresh = local + ".new"
        self.grab.urlgrab("repodata/repomd.xml", fresh, self._check_repomd)
        new = RepoMD(fresh)
        open(self.metadata_cookie, "w").close()
        if old and old.timestamp > new.timestamp:
            print("Not using downloaded {0}/repomd.xml because it is older than what we have".format(self.id), file=sys.stderr)
            return old
        location, kind, checksum = new.parts["primary"]
        self.grab.urlgrab(location, os.path.join(self.cachedir, os.path.basename(location)),
                          lambda path: self._check_sum(path, kind, checksum))
        os.rename(fresh, local)
        return new

    def _check_repomd(self, path):
        if self.repo_gpgcheck:
            self.grab.urlgrab("repodata/repomd.xml.asc", os.path.join(self.cachedir, "repomd.xml.asc"), str)
        try:
            found = RepoMD(path)
        except Exception:
            raise GrabError(-1, "Error importing repomd.xml")
        if self.metalink and not self._checkRepoXMLMetalink(found, self.metalink_data.repomd):
            raise GrabError(-1, "repomd.xml does not match metalink for " + self.id)

    @staticmethod
    def _check_sum(path, kind, checksum):
        if checksum_of(kind, read(path)) != checksum:
            os.unlink(path)
            raise GrabError(-1, "Metadata file does not match checksum")

    def packages(self):
        """Return the packages of the metadata in use."""
        path = os.path.join(self.cachedir, os.path.basename(self.repoXML.parts["primary"][0]))
        with gzip.open(path) as stream:
            root = ElementTree.fromstring(stream.read())
        return [Package(self, entry) for entry in root if entry.get("type") == "rpm"]


class Package(object):
    """A package object of a repository."""

    basepath = None

    def __init__(self, repo, entry):
        values = dict((each.tag.split("}")[1], each) for each in entry)
        self.repo, self.repoid = repo, repo.id
        self.name, self.arch = values["name"].text, values["arch"].text
        self.epoch, self.version, self.release = (values["version"].get(key) for key in ("epoch", "ver", "rel"))
        self.relativepath = values["location"].get("href")
        self.size = int(values["size"].get("package"))
        self._checksum = (values["checksum"].get("type"), values["checksum"].text)

    def __getattr__(self, name):
        """A name that is not known is asked of the database of packages, which has no such column."""
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise KeyError("no such column: " + name)

    def __str__(self):
        return str("{0}-{1}-{2}.{3}".format(self.name, self.version, self.release, self.arch))

    def localPkg(self):
        """Return where it is, or will be."""
        if "localpath" not in self.__dict__:
            self.localpath = os.path.join(self.repo.pkgdir, os.path.basename(self.relativepath))
        return self.localpath

    def returnIdSum(self):
        """Return kind and value of its checksum in the metadata."""
        return self._checksum

    def verifyLocalPkg(self):
        """Whether the local file has that checksum."""
        return os.path.exists(self.localPkg()) and checksum_of(self._checksum[0], read(self.localPkg())) == self._checksum[1]


class LocalPackage(Package):
    """A package of ``yum localinstall``."""

    pkgtype = "local"

    def __init__(self, path):
        self.repo = Failure(id="/" + os.path.basename(path))
        self.name, self.version, self.localpath = os.path.basename(path).rsplit("-", 2)[0], "local", path
        self.repoid, self.release, self.arch = self.repo.id, "1", "noarch"

    def __getattr__(self, name):
        """An unknown attribute is looked for in the header of the file, and is a ValueError."""
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        raise ValueError("{0} has no attribute {1}".format(self.localpath, name))


class TextMeter(object):
    """urlgrabber's progress line, as it looks on no terminal: one line at the end."""

    def start(self, filename=None, url=None, basename=None, size=None, now=None, text=None):
        """Begin with a line."""
        self._text, self._size = text, size

    def update(self, amount_read, now=None):
        """Show nothing."""

    def end(self, amount_read, now=None):
        """Show the line."""
        print("{0} | {1:.0f}%".format(self._text, 100.0 * amount_read / self._size))


class RepoStorage(object):
    """base.repos."""

    def __init__(self, base):
        self._base = base
        self.repos = {}
        self._list_enabled_hasrun = False
        self._setup = False

    def listEnabled(self):
        """Return the enabled repositories; the first call runs a hook, and a hook that calls it never returns."""
        if not self._list_enabled_hasrun:
            self._base.plugins.run("prelistenabledrepos")
            self._list_enabled_hasrun = True
        return sorted((repo for repo in self.repos.values() if repo.isEnabled()), key=lambda repo: repo.id)

    def doSetup(self):
        """Load metadata."""
        self.listEnabled()
        self._base.plugins.run("prereposetup")
        for repo in self.listEnabled():
            repo.cache = self._base.conf.cache
        for repo in self.listEnabled():
            if not repo.cache:
                self._load(repo)
        self._setup = True
        self._base.plugins.run("postreposetup")

    @staticmethod
    def _load(repo):
        try:
            repo.metadata()
        except RepoError:
            if not repo.skip_if_unavailable:
                raise
            repo.enabled = False


# Plugins.

class Conduit(object):
    """All of yum's conduits in one."""

    def __init__(self, parent, base, conf, pkglist=None, errors=None):
        self._parent, self._base, self._conf, self._pkglist, self._errors = parent, base, conf, pkglist, errors

    def info(self, level, message):
        """Show a message for -v and the like."""
        if level <= self._base.conf.debuglevel:
            print(message)

    def error(self, level, message):
        """Show an error."""
        print(message, file=sys.stderr)

    def confString(self, section, option, default=None):
        """Return a setting of the plugin's .conf."""
        return self._conf.get(section, option) if self._conf.has_option(section, option) else default

    def getCmdLine(self):
        """Return options and words of the command line; a user of the API has none."""
        return self._base.cmdline

    def getRepos(self):
        """Return the repositories."""
        return self._base.repos

    def getTsInfo(self):
        """Return the transaction."""
        return self._base.tsInfo

    def getDownloadPackages(self):
        """Return what is to be installed."""
        return self._pkglist

    def getErrors(self):
        """Return the live dictionary of download errors; another one if there is none."""
        return self._errors or {}


class Plugins(object):
    """yum.plugins.YumPlugins."""

    def __init__(self, base, folders, conf_folders, kinds, disabled):
        self.base, self.pluginconfpath, self._plugins, self._hooks = base, conf_folders, {}, []
        for folder in folders:
            for name in sorted(os.listdir(folder)):
                if name.endswith(".py") and name[:-3] not in disabled:
                    self._load(folder, name[:-3], kinds)
        if self._plugins and base.conf.debuglevel >= 2:
            print("Loaded plugins: " + ", ".join(sorted(self._plugins)))

    def _load(self, folder, name, kinds):
        paths = [path for path in (os.path.join(each, name + ".conf") for each in self.pluginconfpath) if os.path.exists(path)]
        if not paths:
            print("Configuration file {0}.conf not found\nUnable to find configuration file for plugin {0}".format(name))
            return
        conf = configparser.RawConfigParser()
        conf.read(paths[0])
        if not conf.has_option("main", "enabled") or not parse_flag(conf.get("main", "enabled")):
            return
        module = load_module(name, os.path.join(folder, name + ".py"))
        if all(kind in kinds for kind in module.plugin_type):
            self._plugins[name] = (module, conf)
            self._hooks += [(name, slot, getattr(module, slot + "_hook")) for slot in SLOTS if hasattr(module, slot + "_hook")]

    def run(self, slot, **values):
        """Run the hooks of a slot, plugin by plugin in the order of their file names."""
        for name, hooked, function in self._hooks:
            if hooked == slot:
                function(Conduit(self, self.base, self._plugins[name][1], **values))


def load_module(name, path):
    """Import a plugin by the name of its file, as yum does; a .pyc beside it is used on Python 2.7."""
    if sys.version_info[0] == 2:
        import imp
        with open(path) as stream:
            return imp.load_module(name, stream, path, (".py", "U", imp.PY_SOURCE))
    import importlib.util
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The program.

class Base(object):
    """yum.YumBase for one command."""

    def __init__(self, arguments, kinds):
        self.conf = Failure(cache=int("-C" in arguments), debuglevel=0 if "-q" in arguments else 3 if "-v" in arguments else 2,
                            installroot=arguments[arguments.index("--installroot") + 1], downloadonly="--downloadonly" in arguments)
        main = configparser.RawConfigParser()
        main.read(arguments[arguments.index("-c") + 1])
        self.main = main
        self.plugins = Failure(run=lambda slot, **values: None)
        if "--noplugins" not in arguments and parse_flag(main.get("main", "plugins")):
            disabled = [each.split("=")[1] for each in arguments if each.startswith("--disableplugin=")]
            self.plugins = Plugins(self, [main.get("main", "pluginpath")], [main.get("main", "pluginconfpath")], kinds, disabled)
        self.repos = RepoStorage(self)
        self._read_repos(main.get("main", "reposdir"))
        self._installed = os.path.join(self.conf.installroot, "installed.json")
        self._lockfile = ""

    def _read_repos(self, folder):
        for name in sorted(os.listdir(folder)):
            parser = configparser.RawConfigParser()
            parser.read(os.path.join(folder, name))
            for section in parser.sections():
                repo = Repository(section, os.path.join(folder, name), parser, self.main)
                repo.basecachedir = os.path.join(self.conf.installroot, "var/cache/yum")
                self.repos.repos[section] = repo

    def lock(self):
        """Take yum's lock (yum/__init__.py:doLock), waiting for who has it as yum's command line does."""
        if os.geteuid() and self.conf.cache:
            return  # of the cache of root that it reads
        folder = os.path.join(self.conf.installroot, "var/run" if not os.geteuid() else "var/cache/yum")
        path = os.path.join(folder, "yum.pid")
        if not os.path.isdir(folder):
            os.makedirs(folder)
        told = False
        while True:
            try:
                descriptor = os.open(path, os.O_EXCL | os.O_CREAT | os.O_WRONLY, 0o644)
                break
            except OSError as error:
                if error.errno != errno.EEXIST:
                    raise
            owner = self._owner_of(path)
            if owner and not told:
                print("Existing lock {0}: another copy is running as pid {1}.\nAnother app is currently holding the yum lock; "
                      "waiting for it to exit...".format(path, owner), file=sys.stderr)
                told = True
            time.sleep(0.05)
        os.write(descriptor, str(os.getpid()).encode("ascii"))
        os.close(descriptor)
        self._lockfile = path

    @staticmethod
    def _owner_of(path):
        """Return the living process whose id a lock has; None where it is free now: bogus ones and those of the dead are removed."""
        try:
            text = read(path)
            if not text:
                return None  # its owner is just about to write into it
            os.kill(int(text), 0)
            return int(text)
        except (ValueError, EnvironmentError) as error:
            if getattr(error, "errno", errno.ESRCH) not in (errno.ESRCH, errno.ENOENT):
                raise
        _unlink(path)
        return None

    def unlock(self):
        """Release the lock, if we have it."""
        if self._lockfile:
            _unlink(self._lockfile)

    def installed(self):
        """Return version by name."""
        return json.loads(read(self._installed).decode("ascii")) if os.path.exists(self._installed) else {}

    def available(self):
        """Return the newest package of each name."""
        if not self.repos._setup:
            self.repos.doSetup()
        newest = {}
        for repo in self.repos.listEnabled():
            for package in repo.packages():
                if package.name not in newest or package.version > newest[package.name].version:
                    newest[package.name] = package
        return newest

    def updates(self):
        """Return the packages of which an older version is installed."""
        newest = self.available()
        return [newest[name] for name, version in sorted(self.installed().items()) if name in newest and newest[name].version > version]

    def transaction(self, packages):
        """Download and "install"."""
        if not packages:
            print("No packages marked for update")
            return 0
        errors = self.download(packages)
        if errors:
            print("Error downloading packages:\n" + "\n".join("  {0}: {1}".format(*item) for item in errors.items()), file=sys.stderr)
            return 1
        if self.conf.downloadonly:
            print('exiting because "Download Only" specified')
            return 0
        done = self.installed()
        members = [Failure(po=package, ts_state="u" if package.name in done else "i") for package in packages]
        members += [Failure(po=Failure(name=each.po.name, repoid="installed"), ts_state="ud") for each in members if each.ts_state == "u"]
        self.tsInfo = Failure(getMembers=lambda: members)
        self.plugins.run("pretrans")
        for package in packages:
            done[package.name] = package.version
            if not isinstance(package, LocalPackage):
                os.unlink(package.localPkg())
        with io.open(self._installed, "wb") as stream:
            stream.write(json.dumps(done).encode("ascii"))
        print("Complete!")
        return 0

    def download(self, packages):
        """downloadPkgs: the hooks, and between them what is not there yet."""
        errors = {}
        self.plugins.run("predownload", pkglist=packages)
        for package in packages:
            if isinstance(package, LocalPackage) or package.verifyLocalPkg():
                continue
            if self.conf.downloadonly:
                package.localpath = package.localPkg() + ".tmp"
            try:
                package.repo.grab.urlgrab(package.relativepath, package.localPkg(), lambda path, po=package: self._check(po), resume=True)
            except GrabError as error:
                errors.setdefault(package, []).append(str(error))
        if not self.conf.downloadonly:
            self.plugins.run("postdownload", pkglist=packages, errors=errors)
        return errors

    @staticmethod
    def _check(package):
        if not package.verifyLocalPkg():
            if os.path.getsize(package.localPkg()) >= package.size:
                os.unlink(package.localPkg())
            raise GrabError(-1, "Package does not match intended download.")
        if package.localpath.endswith(".tmp"):
            os.rename(package.localpath, package.localpath[:-4])

    def clean(self, what):
        """Remove cached files."""
        names = {"expire-cache": ["cachecookie"], "metadata": ["repomd.xml", "metalink.xml"], "all": []}[what]
        self.plugins.run("clean")
        for repo in self.repos.listEnabled():
            for name in os.listdir(repo.cachedir):
                path = os.path.join(repo.cachedir, name)
                if os.path.isfile(path) and (name in names or not names):
                    os.unlink(path)
        return 0

    def config_manager_save(self, name):
        """Write the options of a repository back, as yum-config-manager --save does: all that differ from the defaults."""
        self.repos.listEnabled()
        repo = self.repos.repos[name]
        for key, option in OPTIONS.items():
            if repo.cfg.has_option(name, key) or getattr(repo, key) != option.default:
                repo.cfg.set(name, key, option.tostring(getattr(repo, key)))
        with open(repo.repofile, "w") as stream:
            repo.cfg.write(stream)
        return 0

    def makecache(self):
        """Ask for metadata whatever its age."""
        for repo in self.repos.repos.values():
            repo.metadata_expire = 0
        self.repos.doSetup()
        self.repos.doSetup()
        return 0

    def command(self, words):
        """Do what the command line says and return the exit code."""
        if words[0] in ("install", "update"):
            return self.transaction([self.available()[name] for name in words[1:]] if words[0] == "install" else self.updates())
        if words[0] == "localinstall":
            return self.transaction([LocalPackage(path) for path in words[1:]])
        if words[0] in ("check-update", "api-check-update"):
            found = self.updates()
            print("\n".join("{0.name}.{0.arch} {0.version}-{0.release} {0.repoid}".format(package) for package in found))
            return 100 if found else 0
        if words[0] == "list":
            print("\n".join("{0.name} {0.version}".format(package) for package in self.available().values()))
            return 0
        actions = {"clean": self.clean, "config-manager-save": self.config_manager_save, "makecache": self.makecache,
                   "history": lambda: 0}
        return actions[words[0]](*words[1:])

    def dump(self):
        """Write down what the repositories look like now."""
        names = sorted(OPTIONS) + ["_urls", "_metadataCurrent", "mirrorlistparsed", "cachedir"]
        values = dict((repo.id, dict((name, getattr(repo, name)) for name in names)) for repo in self.repos.repos.values())
        for repo in self.repos.repos.values():
            callbacks = ("failure_obj", "mirror_failure_obj")
            values[repo.id].update((name, getattr(getattr(repo, name), "__name__", None)) for name in callbacks)
        with io.open(os.path.join(self.conf.installroot, "repos.json"), "wb") as stream:
            stream.write(json.dumps(values).encode("ascii"))


def main(arguments):
    """Run one command as ``yum`` does."""
    provide_modules()
    if "STAND_IN_USER" in os.environ:
        os.geteuid = lambda: int(os.environ["STAND_IN_USER"])
    valued = [index + 1 for index, word in enumerate(arguments) if word in ("-c", "--installroot")]
    words = [word for index, word in enumerate(arguments) if index not in valued and not word.startswith("-")]
    by_api = words[0] == "api-check-update"
    base = Base(arguments, (TYPE_CORE,) if by_api else (TYPE_CORE, TYPE_INTERACTIVE))
    base.cmdline = (None, None) if by_api else (arguments, words)
    try:
        if by_api:
            return base.command(words)
        for repo in base.repos.repos.values():
            repo.setFailureObj(_tell)
            repo.callback = TextMeter()
        base.lock()
        return base.command(words)
    except (PluginYumExit, RepoError) as error:
        print("\n\n" + str(error), file=sys.stderr)
        return 1
    finally:
        base.unlock()
        base.dump()


def _unlink(path):
    """Remove a file that may be gone."""
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _tell(failure):
    """The failure callback of yum's command line: tell, and go to the next mirror."""
    print("{0}: {1}\nTrying other mirror.".format(failure.url, failure.exception), file=sys.stderr)
    raise failure.exception


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
