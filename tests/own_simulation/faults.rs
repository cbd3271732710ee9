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
    /// A session starts a task that nobody ends.
    LeavesTask,
    /// The members of a room are reached in the order of a hash map.
    RandomOrder,
}

/// All of them.
pub(crate) const FAULTS: [Fault; 9] = [
    Fault::DropsWhenFull,
    Fault::SkipsJoiner,
    Fault::DoesNotWait,
    Fault::WaitsForSlow,
    Fault::WritesTwice,
    Fault::TrustsSilence,
    Fault::WaitsForever,
    Fault::LeavesTask,
    Fault::RandomOrder,
];
