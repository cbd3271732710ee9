//! Programs with task groups that end well, are cancelled or stopped.

use callsoon::{create_task, current_task, sleep, task_builder, task_group, timeout};

use crate::*;

pub(crate) fn of_task_group() -> Vec<Program<Log>> {
    vec![
        program!(
            "group: waits for all, those too that come later",
            r#"
async def whole():
    async with TaskGroup() as group:
        async def parent():
            await sleep(1)
            group.create_task(worker("grandchild", 2))
        group.create_task(worker("a", 2))
        group.create_task(parent())
        say("the body is done")
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("a", 2.0, 0.0));
                    let (g, m) = (group.clone(), l.clone());
                    group.create_task(async move {
                        sleep(secs(1.0)).await;
                        g.create_task(m.child("grandchild", 2.0, 0.0));
                    });
                    l.say("the body is done");
                })
                .await;
            }
        ),
        program!(
            "group: a child is cancelled by itself",
            r#"
async def whole():
    async with TaskGroup() as group:
        alone = group.create_task(worker("a", 9))
        group.create_task(worker("b", 2))
        await sleep(1)
        alone.cancel()
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    let alone = group.create_task(l.child("a", 9.0, 0.0));
                    group.create_task(l.child("b", 2.0, 0.0));
                    sleep(secs(1.0)).await;
                    alone.cancel();
                })
                .await;
            }
        ),
        program!(
            "group: the parent is cancelled in its body",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 1))
        group.create_task(worker("b", 9, 2))
        await worker("body", 9, 0.5)
await cancelled(whole(), "enough")
"#,
            async |log: Log| {
                let l = log.clone();
                let whole = task_group(async move |group| {
                    group.create_task(l.child("a", 9.0, 1.0));
                    group.create_task(l.child("b", 9.0, 2.0));
                    l.child("body", 9.0, 0.5).await;
                });
                log.cancelled(whole, Some("enough")).await;
            }
        ),
        program!(
            "group: the parent is cancelled while it waits, and again",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 2))
task = create_task(whole())
await sleep(1)
task.cancel()
await sleep(1)
task.cancel()
await tell(task)
"#,
            async |log: Log| {
                let l = log.clone();
                let task = create_task(async move {
                    let whole = task_group(async |group| {
                        group.create_task(l.child("a", 9.0, 2.0));
                    });
                    whole.await.unwrap();
                });
                sleep(secs(1.0)).await;
                task.cancel();
                sleep(secs(1.0)).await;
                task.cancel();
                log.tell(task.await);
            }
        ),
        program!(
            "group: in a timeout",
            r#"
async def whole():
    async with timeout(1):
        async with TaskGroup() as group:
            group.create_task(worker("a", 9, 1))
            await sleep(5)
await tell(whole())
"#,
            async |log: Log| {
                let l = log.clone();
                let late = timeout(
                    secs(1.0),
                    task_group(async move |group| {
                        group.create_task(l.child("a", 9.0, 1.0));
                        sleep(secs(5.0)).await;
                    }),
                );
                log.say(match late.await {
                    Ok(ended) => ended.in_words(),
                    Err(late) => Err::<(), _>(late).in_words(),
                });
            }
        ),
        program!(
            "group: names",
            r#"
async def named():
    say(current_task().get_name())
async with TaskGroup() as group:
    group.create_task(named(), name="scout")
"#,
            async |log: Log| {
                let l = log.clone();
                task_group(async move |group| {
                    group.create_task_with(task_builder().name("scout"), async move {
                        l.say(current_task().unwrap().name());
                    });
                })
                .await
                .unwrap();
            }
        ),
    ]
}
