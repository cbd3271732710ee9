//! What a random program of the target `ops` consists of.

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
pub(crate) struct Input {
    pub(crate) shuffle: Option<u8>,
    pub(crate) debug: bool,
    pub(crate) run: Run,
    pub(crate) scripts: Vec<Vec<Op>>,
}

/// How the loop is run.
#[derive(Arbitrary, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Run {
    Forever,
    UntilComplete,
    Turns,
}

/// Numbers pick among what there is, scripts among later ones.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Op {
    Yield,
    Sleep(u8),
    Fail,
    Panic,
    /// Keeps a value whose destructor panics until the script ends.
    PanicLater,
    /// Takes the next op even if the script is cancelled meanwhile.
    Catch(u8),
    Inline(u8),
    Hosted(u8),
    Timeout(u8, u8),
    MoveOn(u8, u8),
    Spawn(u8),
    SpawnEager(u8),
    Await(u8),
    Shield(u8),
    Detach(u8),
    DropTask(u8),
    CancelOnDrop(u8),
    Wait(u8, u8, Option<u8>),
    AsCompleted(u8, u8),
    Gather([u8; 3]),
    TryGather([u8; 3]),
    Race([u8; 2]),
    Group(u8, [u8; 2]),
    GroupCancelled(u8, [u8; 2]),
    ForEach(u8, u8),
    Cancel(u8),
    CancelSelf,
    Uncancel(u8),
    OnDone(u8, u8),
    CallSoon(u8),
    CallSoonCancelled(u8),
    CallLater(u8, u8),
    Post,
    AsyncDrop(u8),
    Stop,
    Nested,
    FutureWait,
    FutureSet,
    FutureCancel,
    LockHold(u8),
    SemaphoreHold(u8, u8),
    SemaphoreAdd,
    EventWait,
    EventSet,
    EventClear,
    ConditionWait(u8),
    Notify(u8),
    BarrierWait,
    BarrierReset,
    BarrierAbort,
    Put,
    Get,
    PutNow,
    GetNow,
    Join,
    TaskDone,
    ShutDown(bool),
}
