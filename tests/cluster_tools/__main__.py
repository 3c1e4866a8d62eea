import sys
from tests.cluster_tools.embedded import Embedded
from tests.cluster_tools.layout import default_layout
from tests.cluster_tools.progress import Progress
e = Embedded(default_layout(), Progress())
match sys.argv[1]:
    case "up": e.up()
    case "down": e.down()
    case "status": print("\n".join(e.status()))
    case "left": print("\n".join(e.leftovers()))
