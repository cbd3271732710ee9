//! Programs with `gather`.

use std::cell::Cell;
use std::rc::Rc;

use callsoon::{TaskError, TryGatherError, create_task, current_task, gather, shield, sleep};

use crate::*;

pub(crate) fn of_gather() -> Vec<Program<Log>> {
    vec![
        program!(
            "gather: order of arguments",
            r#"
say(" ".join(await gather(worker("a", 3), worker("b", 1), worker("c", 2))))
"#,
            async |log: Log| {
                let all = [("a", 3.0), ("b", 1.0), ("c", 2.0)]
                    .map(|(name, work)| log.worker(name, work, 0.0));
                log.say(gather(all).await.unwrap().join(" "));
            }
        ),
        program!(
            "gather: of nothing",
            r#"
say(len(await gather()))
"#,
            async |log: Log| {
                log.say(
                    gather(Vec::<std::future::Ready<()>>::new())
                        .await
                        .unwrap()
                        .len(),
                );
            }
        ),
        program!(
            "gather: the first error at once, the others run on",
            r#"
await tell(gather(worker("a", 2), bad(1, "no"), bad(1.5, "unheard")))
await sleep(5)
"#,
            async |log: Log| {
                let l = log.clone();
                let all = (0..3).map(|n| {
                    let l = l.clone();
                    async move {
                        match n {
                            0 => Ok(l.worker("a", 2.0, 0.0).await),
                            1 => bad(1.0, "no").await,
                            _ => bad(1.5, "unheard").await,
                        }
                    }
                });
                if let Err(TryGatherError::Failed { error, .. }) = gather(all).fail_fast().await {
                    log.say(format!("error {error}"));
                }
                sleep(secs(5.0)).await;
            }
        ),
        program!(
            "gather: return_exceptions",
            r#"
a, b, c = await gather(worker("a", 2), bad(1, "no"), stopped(), return_exceptions=True)
say(f"{a} {b} {type(c).__name__}")
"#,
            async |log: Log| {
                let (a, b, c) =
                    callsoon::gather!(log.worker("a", 2.0, 0.0), bad(1.0, "no"), async {
                        current_task().unwrap().cancel();
                        sleep(secs(1.0)).await;
                    })
                    .settled()
                    .await;
                let c = if c.unwrap_err().cancelled().is_some() {
                    "CancelledError"
                } else {
                    ""
                };
                log.say(format!("{} {} {c}", a.unwrap(), b.unwrap().unwrap_err()));
            }
        ),
        program!(
            "gather: cancelled, return_exceptions",
            r#"
await cancelled(holder(True))
await sleep(5)
"#,
            async |log: Log| {
                log.cancelled(log.holder(true), None).await;
                sleep(secs(5.0)).await;
            }
        ),
        program!(
            "gather: cancelled",
            differs: "without return_exceptions asyncio's gather ends with the first child that ends as cancelled, and the \
                others outlive it; here it waits for all of them",
            r#"
await cancelled(holder(False))
await sleep(5)
"#,
            async |log: Log| {
                log.cancelled(log.holder(false), None).await;
                sleep(secs(5.0)).await;
            }
        ),
        program!(
            "gather: one child is cancelled",
            r#"
child = create_task(worker("a", 9))
both = gather(child, worker("b", 2))
await sleep(1)
child.cancel()
try:
    await both
except CancelledError:
    say(f"cancelled, and {current_task().cancelling()} requests to me")
await sleep(5)
"#,
            async |log: Log| {
                let child = create_task(log.worker("a", 9.0, 0.0));
                let canceller = child.as_ref();
                let both = callsoon::gather!(
                    async move {
                        match child.await {
                            Err(TaskError::Cancelled(request)) => request.resume().await,
                            other => other.unwrap(),
                        }
                    },
                    log.worker("b", 2.0, 0.0)
                );
                sleep(secs(1.0)).await;
                canceller.cancel();
                assert!(both.await.unwrap_err().error.cancelled().is_some());
                log.say(format!(
                    "cancelled, and {} requests to me",
                    current_task().unwrap().cancelling()
                ));
                sleep(secs(5.0)).await;
            }
        ),
        program!(
            "gather: in a shield",
            r#"
inner = gather(worker("a", 2), worker("b", 3))
async def outside():
    await shield(inner)
await cancelled(outside())
say(" ".join(await inner))
"#,
            async |log: Log| {
                let l = log.clone();
                let inner = create_task(async move {
                    let all = [l.worker("a", 2.0, 0.0), l.worker("b", 3.0, 0.0)];
                    gather(all).await.unwrap()
                });
                let inner = Rc::new(Cell::new(Some(inner)));
                let kept = Rc::clone(&inner);
                let outside = async move {
                    // The task that is cancelled puts the handle back.
                    let mut lent = Lent(kept.take(), kept);
                    drop(shield(lent.0.as_mut().unwrap()).await);
                };
                log.cancelled(outside, None).await;
                log.say(inner.take().unwrap().await.unwrap().join(" "));
            }
        ),
    ]
}
