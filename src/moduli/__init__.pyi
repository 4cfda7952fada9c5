from .balancing import (
    Equal as Equal,
)
from .balancing import (
    Weights as Weights,
)
from .errors import (
    InputError as InputError,
)
from .errors import (
    Interrupted as Interrupted,
)
from .errors import (
    MissingExtra as MissingExtra,
)
from .errors import (
    RunError as RunError,
)
from .model import (
    JointModel as JointModel,
)
from .model import (
    dense_ends as dense_ends,
)
from .modules import (
    Conv as Conv,
)
from .modules import (
    Dense as Dense,
)
from .modules import (
    Each as Each,
)
from .modules import (
    LinearBank as LinearBank,
)
from .modules import (
    PadChannels as PadChannels,
)
from .scheduling import AllTasks as AllTasks
from .sharing import (
    Apply as Apply,
)
from .sharing import (
    Merge as Merge,
)
from .sharing import (
    Route as Route,
)
from .sharing import (
    RoutedStructure as RoutedStructure,
)
from .sharing import (
    chain as chain,
)
from .sharing import (
    hard as hard,
)
from .sharing import (
    permuted as permuted,
)
from .sharing import (
    single as single,
)
from .sharing import (
    soft as soft,
)
from .sharing import (
    soft_order as soft_order,
)
from .tasks import (
    Binary as Binary,
)
from .tasks import (
    Data as Data,
)
from .tasks import (
    DatasetSource as DatasetSource,
)
from .tasks import (
    Multiclass as Multiclass,
)
from .tasks import (
    Multilabel as Multilabel,
)
from .tasks import (
    Regression as Regression,
)
from .tasks import (
    Task as Task,
)
from .tasks import (
    TensorSource as TensorSource,
)
from .training import (
    Bar as Bar,
)
from .training import (
    Fit as Fit,
)
from .training import (
    Silent as Silent,
)
from .training import (
    Train as Train,
)
from .training import (
    Trainer as Trainer,
)
from .training import (
    evaluate as evaluate,
)
from .training import (
    fit as fit,
)
from .types import (
    Batch as Batch,
)
from .types import (
    Losses as Losses,
)
from .types import (
    Part as Part,
)
from .types import (
    Phase as Phase,
)
from .types import (
    Scores as Scores,
)

__version__: str
