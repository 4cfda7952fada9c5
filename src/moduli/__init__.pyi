from .balancing import (
    DWA as DWA,
    Aggregated as Aggregated,
    DynamicTaskPriority as DynamicTaskPriority,
    Equal as Equal,
    Exponent as Exponent,
    Focal as Focal,
    GradNorm as GradNorm,
    Prioritise as Prioritise,
    RandomWeights as RandomWeights,
    Scalarized as Scalarized,
    SelfPaced as SelfPaced,
    Uncertainty as Uncertainty,
    Weighting as Weighting,
    Weights as Weights,
)
from .errors import (
    InputError as InputError,
    Interrupted as Interrupted,
    MissingExtra as MissingExtra,
    RunError as RunError,
    SaveError as SaveError,
)
from .evaluation import (
    Comparison as Comparison,
    Recipe as Recipe,
    baselines_of as baselines_of,
    compare as compare,
    single_task_scores as single_task_scores,
)
from .evolution import (
    EvolvingModel as EvolvingModel,
    ModuleSet as ModuleSet,
    Ranges as Ranges,
    evolve as evolve,
    minimal as minimal,
    random_chains as random_chains,
)
from .evolution.evaluators import (
    Board as Board,
    InProcess as InProcess,
    Processes as Processes,
    Ray as Ray,
)
from .games import (
    AtariGame as AtariGame,
    GymnasiumGame as GymnasiumGame,
    evolve_network as evolve_network,
    load_network as load_network,
    play as play,
    random_network as random_network,
    record as record,
)
from .hypermodules import (
    Coverage as Coverage,
    HyperModel as HyperModel,
    Hypermodules as Hypermodules,
    MappingEvolution as MappingEvolution,
    reparameterize as reparameterize,
)
from .model import (
    JointModel as JointModel,
    dense_ends as dense_ends,
)
from .modules import (
    LSTM as LSTM,
    Conv as Conv,
    Dense as Dense,
    Each as Each,
    HuggingFaceEncoder as HuggingFaceEncoder,
    LinearBank as LinearBank,
    PadChannels as PadChannels,
)
from .modules.networks import (
    DeepBind as DeepBind,
    DigitConv as DigitConv,
    LSTMLanguageModel as LSTMLanguageModel,
    TextConv as TextConv,
    WideResNet as WideResNet,
)
from .pseudotasks import (
    PTA as PTA,
    DecoderBank as DecoderBank,
    DecoderControl as DecoderControl,
    TaskDecoders as TaskDecoders,
    augment as augment,
)
from .qls import (
    MultitaskTrainingEnv as MultitaskTrainingEnv,
    learn_schedule as learn_schedule,
)
from .runs import (
    Predictor as Predictor,
    load_predictor as load_predictor,
    run_file as run_file,
)
from .scheduling import (
    Adaptive as Adaptive,
    AllTasks as AllTasks,
    ByWeights as ByWeights,
    ConstantShare as ConstantShare,
    ExponentialShare as ExponentialShare,
    Greedy as Greedy,
    Policy as Policy,
    Proportional as Proportional,
    QLearningScheduler as QLearningScheduler,
    RandomTasks as RandomTasks,
    RoundRobin as RoundRobin,
    ShiftingShares as ShiftingShares,
    SigmoidShare as SigmoidShare,
)
from .search import search_modules as search_modules
from .sharing import (
    Apply as Apply,
    Merge as Merge,
    Route as Route,
    RoutedStructure as RoutedStructure,
    chain as chain,
    hard as hard,
    permuted as permuted,
    single as single,
    soft as soft,
    soft_order as soft_order,
)
from .tasks import (
    Binary as Binary,
    Chain as Chain,
    Crop as Crop,
    Data as Data,
    DatasetSource as DatasetSource,
    Flip as Flip,
    LanguageModel as LanguageModel,
    Multiclass as Multiclass,
    Multilabel as Multilabel,
    Regression as Regression,
    Task as Task,
    TensorSource as TensorSource,
    TextSource as TextSource,
    language_task as language_task,
)
from .tasks.arrays import from_arrays as from_arrays
from .tasks.tables import (
    TableSpec as TableSpec,
    load_tables as load_tables,
)
from .training import (
    Bar as Bar,
    Fit as Fit,
    Silent as Silent,
    Train as Train,
    Trainer as Trainer,
    evaluate as evaluate,
    fit as fit,
)
from .types import (
    Batch as Batch,
    Combine as Combine,
    Losses as Losses,
    Part as Part,
    Phase as Phase,
    Schedule as Schedule,
    Scores as Scores,
)

__version__: str
