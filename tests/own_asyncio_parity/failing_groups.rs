//! Programs with task groups whose children or bodies fail.

use std::future::pending;

use callsoon::{catch_cancelled, current_task, sleep, task_group};

use crate::*;

pub(crate) fn of_failing_groups() -> Vec<Program<Log>> {
    vec![
        program!(
            "group: a child fails, the others and the body are cancelled",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 1))
        group.create_task(bad(1, "no"))
        await worker("body", 9, 0.5)
await tell(whole())
say(current_task().cancelling())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("a", 9.0, 1.0));
                    group.create_task(bad(1.0, "no"));
                    l.child("body", 9.0, 0.5).await;
                })
                .await;
                log.say(current_task().unwrap().cancelling());
            }
        ),
        program!(
            "group: a child fails after the body has ended",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 1))
        group.create_task(bad(1, "no"))
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("a", 9.0, 1.0));
                    group.create_task(bad(1.0, "no"));
                })
                .await;
            }
        ),
        program!(
            "group: the body fails",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 1))
        await bad(1, "the body")
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("a", 9.0, 1.0));
                    bad(1.0, "the body").await
                })
                .await;
            }
        ),
        program!(
            "group: several fail in one turn, and one while it cleans up",
            r#"
async def late():
    try:
        await sleep(9)
    except CancelledError:
        await bad(1, "late")
async def whole():
    async with TaskGroup() as group:
        group.create_task(late())
        for text in "abc":
            group.create_task(bad(1, text))
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, _| {
                    group.create_task(async {
                        drop(catch_cancelled(sleep(secs(9.0))).await);
                        bad(1.0, "late").await
                    });
                    for text in ["a", "b", "c"] {
                        group.create_task(bad(1.0, text));
                    }
                })
                .await;
            }
        ),
        program!(
            "group: the body awaits the child that fails",
            r#"
async def whole():
    async with TaskGroup() as group:
        child = group.create_task(bad(1, "no"))
        try:
            await child
        except ValueError:
            say("the error itself")
            await sleep(5)
            say("not reached")
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    let child = group.create_task(async {
                        sleep(secs(1.0)).await;
                        Err::<(), _>("no")
                    });
                    drop(child.await);
                    l.say("not reached");
                })
                .await;
            }
        ),
        program!(
            "group: a group in a child of a group",
            r#"
async def inner():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 0.5))
        group.create_task(bad(1, "deep"))
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("b", 9, 0.5))
        group.create_task(inner())
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("b", 9.0, 0.5));
                    group.create_task(async move {
                        task_group(async |group| {
                            group.create_task(l.child("a", 9.0, 0.5));
                            group.create_task(bad(1.0, "deep"));
                        })
                        .await
                    });
                })
                .await;
            }
        ),
        program!(
            "group: a group in the body of a group, both fail at once",
            r#"
async def whole():
    async with TaskGroup() as outer:
        outer.create_task(bad(1, "outer"))
        async with TaskGroup() as inner:
            inner.create_task(bad(1, "inner"))
            await sleep(9)
await tell(whole())
say(current_task().cancelling())
"#,
            async |log: Log| {
                log.group(async move |outer, _| {
                    outer.create_task(bad(1.0, "outer"));
                    task_group(async |inner| {
                        inner.create_task(bad(1.0, "inner"));
                        sleep(secs(9.0)).await;
                    })
                    .await
                })
                .await;
                log.say(current_task().unwrap().cancelling());
            }
        ),
        program!(
            "group: errors go before the cancellation of the parent",
            r#"
async def broken():
    try:
        await sleep(9)
    except CancelledError:
        raise ValueError("could not save")
async def whole():
    async with TaskGroup() as group:
        group.create_task(broken())
await cancelled(whole())
"#,
            async |log: Log| {
                let whole = task_group(async |group| {
                    group.create_task(async {
                        drop(catch_cancelled(pending::<()>()).await);
                        Err::<(), _>("could not save")
                    });
                });
                log.cancelled(whole, None).await;
            }
        ),
        program!(
            "group: one that shuts down takes no children",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(bad(1, "no"))
        try:
            await sleep(9)
        except CancelledError:
            coroutine = worker("never", 1)
            try:
                group.create_task(coroutine)
            except RuntimeError:
                coroutine.close()
                say("refused")
            raise
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(bad(1.0, "no"));
                    if let Err(cancelled) = catch_cancelled(sleep(secs(9.0))).await {
                        if group.try_create_task(l.child("never", 1.0, 0.0)).is_err() {
                            l.say("refused");
                        }
                        cancelled.resume().await;
                    }
                })
                .await;
            }
        ),
        program!(
            "group: the body keeps on when a child fails",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(bad(1, "no"))
        say(await stubborn("body", 9, 1))
await tell(whole())
say(current_task().cancelling())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(bad(1.0, "no"));
                    l.say(l.stubborn("body", 9.0, 1.0).await);
                })
                .await;
                log.say(current_task().unwrap().cancelling());
            }
        ),
    ]
}
