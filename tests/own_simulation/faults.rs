//! Faults that are planted in the chat server, so that it is seen that the simulation finds them.

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// A message for a member whose queue is full is dropped, and the member stays.
    DropsWhenFull,
    /// A member is told its first message's number, and is put into the room only after a pause.
    SkipsJoiner,
    /// A shutdown cancels the sessions before they have sent what they have.
    DoesNotWait,
    /// A message is put into one queue after the other, and waits for room in each.
    WaitsForSlow,
    /// A write that takes long is tried again from the beginning of the line.
    WritesTwice,
    /// A client from which nothing comes any more is kept.
    TrustsSilence,
    /// A shutdown has no deadline.
    WaitsForever,
    /// What has come of a request is lost when the rest comes late.
    LosesBegun,
    /// The number of a message is read before a pause, and the next one is noted after it.
    LostUpdate,
    /// The connection of a client that has got everything is kept in a list.
    KeepsGone,
    /// A session starts a task that nobody ends.
    LeavesTask,
    /// The members of a room are reached in the order of a hash map.
    RandomOrder,
}

/// All of them, with words of the violation that each is found by.
pub(crate) const FAULTS: [(Fault, &str); 12] = [
    (Fault::DropsWhenFull, "was next"),
    (Fault::SkipsJoiner, "was next"),
    (Fault::DoesNotWait, "ended for no reason: Closed"),
    (Fault::WaitsForSlow, "has not come"),
    (Fault::WritesTwice, "is no answer"),
    (Fault::TrustsSilence, "the server has not noticed a cut"),
    (Fault::WaitsForever, "the shutdown took"),
    (Fault::LosesBegun, "the answer to"),
    (Fault::LostUpdate, "was next"),
    (Fault::KeepsGone, "ends of connections are left"),
    (Fault::LeavesTask, "pending task"),
    (Fault::RandomOrder, "the same seed gave another trace"),
];
