//! Programs with `timeout` and `wait_for`.

use std::time::Duration;

use callsoon::{
    Timeout, catch_cancelled, create_task, current_task, get_running_loop, shield, sleep, timeout,
    wait_for, yield_now,
};

use crate::*;

pub(crate) fn of_timeout() -> Vec<Program<Log>> {
    vec![
        program!(
            "timeout: in time, and late",
            r#"
async def limited(limit, work):
    async with timeout(limit):
        return await worker("a", work, 0.5)
await tell(limited(2, 1))
await tell(limited(2, 9))
say(current_task().cancelling())
"#,
            async |log: Log| {
                log.tell(timeout(secs(2.0), log.worker("a", 1.0, 0.5)).await);
                log.tell(timeout(secs(2.0), log.worker("a", 9.0, 0.5)).await);
                log.say(current_task().unwrap().cancelling());
            }
        ),
        program!(
            "timeout: zero",
            r#"
async def limited():
    async with timeout(0):
        say("begins")
        await sleep(0)
        say("not reached")
await tell(limited())
"#,
            async |log: Log| {
                let l = log.clone();
                let late = timeout(Duration::ZERO, async move {
                    l.say("begins");
                    yield_now().await;
                    l.say("not reached");
                });
                log.tell(late.await);
            }
        ),
        program!(
            "timeout: nested, the outer one first",
            r#"
await tell(nested(1, 2, 0.5, "not reached"))
"#,
            async |log: Log| log.tell(log.nested(1.0, 2.0, 0.5, "not reached").await)
        ),
        program!(
            "timeout: nested, the inner one first",
            r#"
await tell(nested(2, 1, 0.5, "inner"))
"#,
            async |log: Log| log.tell(log.nested(2.0, 1.0, 0.5, "inner").await)
        ),
        program!(
            "timeout: nested, at the same time",
            r#"
await tell(nested(1, 1, 0.5, "not reached"))
"#,
            async |log: Log| log.tell(log.nested(1.0, 1.0, 0.5, "not reached").await)
        ),
        program!(
            "timeout: the outer one during the clean-up of the inner one",
            r#"
await tell(nested(2, 1, 5, "not reached"))
"#,
            async |log: Log| log.tell(log.nested(2.0, 1.0, 5.0, "not reached").await)
        ),
        program!(
            "timeout: what keeps on gives its value",
            r#"
async def limited():
    async with timeout(1) as limit:
        value = await stubborn("a", 9, 0.5)
    say(f"expired: {int(limit.expired())}")
    return value
await tell(limited())
"#,
            async |log: Log| {
                let limit = Timeout::after(secs(1.0));
                let value = limit.run(log.stubborn("a", 9.0, 0.5)).await;
                log.say(format!("expired: {}", u8::from(limit.expired())));
                log.tell(value);
            }
        ),
        program!(
            "timeout: cancelled from outside",
            r#"
async def limited():
    async with timeout(5):
        await worker("a", 9, 0.5)
await cancelled(limited(), "enough")
"#,
            async |log: Log| {
                let limited = timeout(secs(5.0), log.worker("a", 9.0, 0.5));
                log.cancelled(limited, Some("enough")).await;
            }
        ),
        program!(
            "timeout: during the clean-up after a cancellation",
            r#"
async def limited():
    try:
        await sleep(9)
    except CancelledError:
        try:
            async with timeout(1):
                await sleep(9)
        except TimeoutError:
            say(f"clean-up was too slow, {current_task().cancelling()}")
        raise
await cancelled(limited(), "enough")
"#,
            async |log: Log| {
                let l = log.clone();
                let limited = async move {
                    if let Err(cancelled) = catch_cancelled(sleep(secs(9.0))).await {
                        if timeout(secs(1.0), sleep(secs(9.0))).await.is_err() {
                            let count = current_task().unwrap().cancelling();
                            l.say(format!("clean-up was too slow, {count}"));
                        }
                        cancelled.resume().await
                    }
                };
                log.cancelled(limited, Some("enough")).await;
            }
        ),
        program!(
            "timeout: rescheduled",
            r#"
async def limited(first, second):
    now = asyncio.get_running_loop().time()
    async with timeout(first) as limit:
        await sleep(0.5)
        limit.reschedule(None if second is None else now + second)
        await worker("a", 3)
for first, second in [(1, 2), (5, 1), (1, 0.25), (1, None)]:
    await tell(limited(first, second))
"#,
            async |log: Log| {
                for (first, second) in [
                    (1.0, Some(2.0)),
                    (5.0, Some(1.0)),
                    (1.0, Some(0.25)),
                    (1.0, None),
                ] {
                    let now = get_running_loop().time();
                    let limit = Timeout::after(secs(first));
                    let body = limit.run(async {
                        sleep(secs(0.5)).await;
                        limit
                            .reschedule(second.map(|second| now + secs(second)))
                            .unwrap();
                        log.worker("a", 3.0, 0.0).await;
                    });
                    log.tell(body.await);
                }
            }
        ),
    ]
}

pub(crate) fn of_wait_for() -> Vec<Program<Log>> {
    vec![
        program!(
            "wait_for: cancels a task and waits for it",
            r#"
task = create_task(worker("a", 9, 0.5))
await tell(wait_for(task, 1))
say(int(task.cancelled()))
"#,
            async |log: Log| {
                let mut task = create_task(log.worker("a", 9.0, 0.5));
                log.tell(wait_for(&mut task, secs(1.0)).await);
                log.say(u8::from(task.cancelled()));
            }
        ),
        program!(
            "wait_for: a shielded task",
            r#"
task = create_task(worker("a", 2))
await tell(wait_for(shield(task), 1))
await tell(task)
"#,
            async |log: Log| {
                let mut task = create_task(log.worker("a", 2.0, 0.0));
                log.tell(wait_for(shield(&mut task), secs(1.0)).await);
                log.tell(task.await);
            }
        ),
        program!(
            "wait_for: a value in spite of the deadline",
            r#"
await tell(wait_for(stubborn("a", 9, 0.5), 1))
"#,
            async |log: Log| log.tell(wait_for(log.stubborn("a", 9.0, 0.5), secs(1.0)).await)
        ),
        program!(
            "wait_for: no limit",
            r#"
await tell(wait_for(worker("a", 1000), None))
"#,
            async |log: Log| log.tell(wait_for(log.worker("a", 1000.0, 0.0), None).await)
        ),
        program!(
            "wait_for: zero, a task that has not begun, one that runs, one that has ended",
            r#"
await tell(wait_for(create_task(worker("a", 1)), 0))
task = create_task(worker("b", 9, 0.5))
await sleep(1)
await tell(wait_for(task, 0))
task = create_task(worker("c", 1))
await sleep(2)
await tell(wait_for(task, 0))
"#,
            async |log: Log| {
                let mut task = create_task(log.worker("a", 1.0, 0.0));
                log.tell(wait_for(&mut task, Duration::ZERO).await);
                let mut task = create_task(log.worker("b", 9.0, 0.5));
                sleep(secs(1.0)).await;
                log.tell(wait_for(&mut task, Duration::ZERO).await);
                let mut task = create_task(log.worker("c", 1.0, 0.0));
                sleep(secs(2.0)).await;
                log.tell(wait_for(&mut task, Duration::ZERO).await);
            }
        ),
        program!(
            "wait_for: zero, a coroutine",
            differs: "a Rust future that is ready at once is what a finished one is in Python, and nobody can tell without a \
                poll: so it is polled once",
            r#"
async def quick():
    say("begins")
await tell(wait_for(quick(), 0))
"#,
            async |log: Log| {
                let l = log.clone();
                log.tell(wait_for(async move { l.say("begins") }, Duration::ZERO).await);
            }
        ),
        program!(
            "wait_for: an error during the clean-up goes before the deadline",
            r#"
async def broken():
    try:
        await sleep(9)
    except CancelledError:
        raise ValueError("could not save")
await tell(wait_for(broken(), 1))
"#,
            async |log: Log| {
                let broken = wait_for(
                    async {
                        drop(catch_cancelled(sleep(secs(9.0))).await);
                        "could not save"
                    },
                    secs(1.0),
                );
                log.say(format!("error {}", broken.await.unwrap()));
            }
        ),
        program!(
            "wait_for: cancelled from outside",
            r#"
inner = create_task(worker("a", 9, 0.5))
async def waiting():
    await wait_for(inner, 5)
await cancelled(waiting(), "enough")
say(int(inner.cancelled()))
"#,
            async |log: Log| {
                let mut inner = create_task(log.worker("a", 9.0, 0.5));
                let watched = inner.as_ref();
                let waiting = async move { drop(wait_for(&mut inner, secs(5.0)).await) };
                log.cancelled(waiting, Some("enough")).await;
                log.say(u8::from(watched.cancelled()));
            }
        ),
    ]
}
