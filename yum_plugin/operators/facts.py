"""Facts about XCP-ng and its mirrors, as https://docs.xcp-ng.org/project/mirrors and the origin's own tree have them.

What an admin can change (origin, redirector, fingerprints) is in ``host/settings.py``. When the project publishes a new release
or moves a folder, this is the one file of ``operators/`` to edit.
"""
ORIGIN = "updates.xcp-ng.org"
ORIGIN_RSYNC_URL = "rsync://{}/repo/".format(ORIGIN)
SYNC_COMMAND = "rsync -rlptv --delete-delay {}::repo/ /local/path/to/mirror".format(ORIGIN)  # for the owners of mirrors
SYNC_SECONDS = 3600  # a mirror must sync at least hourly
LEAST_BITS_PER_SECOND = 100 * 10**6  # required of a mirror's line
WANTED_BITS_PER_SECOND = 10**9  # recommended
MIRRORS_ADDRESS = "mirrors@xcp-ng.org"  # applications for a mirror's admission go there

TOP_FOLDERS = ("8", "isos")  # what the root of the tree holds; the documented rsync URL leads there
HOST_REPOSITORIES = ("8/8.3/base/x86_64/", "8/8.3/updates/x86_64/")  # enabled on every host; every complete mirror has them
RELEASES = ("8/8.2", "8/8.3")
REPOSITORY_NAMES = ("base", "updates", "candidates", "testing", "ci", "incoming", "lab", "linstor")
ARCHITECTURES = ("x86_64", "Source")
EXAMPLE_FOLDER = HOST_REPOSITORIES[1].rstrip("/")  # in messages and --help
# What the tree holds that nothing signs (docs.xcp-ng.org, "Mirrors", and "Installation" about PXE): regular expressions of whole
# paths. netinstall/RELEASE/ has the content of an installation image; its packages and their metadata are signed.
UNSIGNED_FILES = (
    r"(?:[A-Za-z0-9._-]+/){0,3}README(?:\.txt|\.md)?",
    r"netinstall/[A-Za-z0-9._-]+/(?:\.treeinfo|\.discinfo|EULA|LICENSES|RPM-GPG-KEY-[A-Za-z0-9-]+|install\.img)",
    r"netinstall/[A-Za-z0-9._-]+/(?:boot|EFI)/(?:[A-Za-z0-9_-]+/){0,4}[A-Za-z0-9._+-]+",
)
LINKS = (r"(?:netinstall|isos)/latest",)  # as UNSIGNED_FILES
IMAGE_FOLDERS = ("isos/8.3/", "isos/8.2/", "8/")  # those that may hold a signed SHA256SUMS

# certbot renews 30 days before the end (https://eff-certbot.readthedocs.io): with less than 14 left it has failed for two weeks
CERTIFICATE_SOON_SECONDS = 14 * 86400
