"""Every message between actors and from clients, declared once, in a file for each owner.

Operations follow containerd's services. Each is a frozen dataclass with `@operation`: its name on the
wire, the actor that owns it, the shape of its answer, and what may be repeated. docs/protocol.md is
checked against this package. Times are nanoseconds since the epoch, sizes are bytes.

Owners `container`, `puller` and `job` are kinds: such an operation is addressed to one actor of that kind,
for example `container/default/3f2a`. Owner `any` means every actor but the router. All others are addressed
to the actor of that name.
"""

from actors.messages.bundles import *  # noqa: F403
from actors.messages.collection import *  # noqa: F403
from actors.messages.containers import *  # noqa: F403
from actors.messages.content import *  # noqa: F403
from actors.messages.declare import *  # noqa: F403
from actors.messages.events import *  # noqa: F403
from actors.messages.every import *  # noqa: F403
from actors.messages.files import *  # noqa: F403
from actors.messages.images import *  # noqa: F403
from actors.messages.jobs import *  # noqa: F403
from actors.messages.keys import *  # noqa: F403
from actors.messages.leases import *  # noqa: F403
from actors.messages.metrics import *  # noqa: F403
from actors.messages.network import *  # noqa: F403
from actors.messages.nodes import *  # noqa: F403
from actors.messages.primitives import *  # noqa: F403
from actors.messages.resolver import *  # noqa: F403
from actors.messages.router import *  # noqa: F403
from actors.messages.snapshots import *  # noqa: F403
from actors.messages.tasks import *  # noqa: F403
from actors.messages.transfers import *  # noqa: F403
from actors.messages.tree import *  # noqa: F403
from actors.messages.volumes import *  # noqa: F403
