//! Work on many chunks at once, with HDF5 on one thread and the results in order.
//!
//! ```text
//! main thread:   fetch 0 1 2 3 …   (compute)   deliver 0   fetch 4   deliver 1 …
//! other threads:             compute 0 1 2 3 …
//! ```
//!
//! There is no barrier between groups of chunks: as soon as the oldest result is delivered, the next chunk is fetched.
//! The main thread is one of the workers: it computes whenever there is nothing to fetch or to deliver, so that N jobs
//! are N threads, one of which is the only one to call HDF5. Order makes files of any number of jobs the same.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rayon::{ScopeFifo, ThreadPool, Yield};

use crate::error::CliError;
use crate::interrupt;

/// Chunks in memory for each thread: one that it works on and two that wait, so that it has work while the main thread
/// computes a chunk itself, and while a slow chunk keeps later ones from being delivered.
const CHUNKS_PER_THREAD: usize = 3;

/// The threads of a verb, the one that made them among them.
pub struct Workers {
    pool: ThreadPool,
}

impl Workers {
    /// `jobs` threads, or one for each core. One `Workers` for each thread that makes them.
    ///
    /// # Errors
    /// If they cannot be started.
    pub fn try_new(jobs: Option<u16>) -> Result<Self, CliError> {
        let n_threads = jobs.map_or(0, usize::from);
        let builder = rayon::ThreadPoolBuilder::new().num_threads(n_threads).use_current_thread();
        let pool =
            builder.build().map_err(|error| CliError::new(format!("cannot start threads: {error}")))?;
        Ok(Self { pool })
    }

    /// Fetches an input for each item, computes an output on any thread, and delivers the outputs, in the order of the
    /// items. `fetch` and `deliver` run on the calling thread.
    ///
    /// # Errors
    /// The first one of `fetch` and `deliver`, or `Interrupted`. Nothing is delivered after it.
    pub fn in_order<Item: Send, Input: Send, Output: Send>(
        &self,
        items: impl IntoIterator<Item = Item>,
        mut fetch: impl FnMut(&Item) -> Result<Input, CliError>,
        compute: impl Fn(Input, &Item) -> Output + Sync,
        mut deliver: impl FnMut(Output, &Item) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let most_chunks = self.pool.current_num_threads() * CHUNKS_PER_THREAD;
        let is_cancelled = AtomicBool::new(false);
        let mut items = items.into_iter();
        self.pool.in_place_scope_fifo(|scope| {
            let mut queue = Queue::new();
            let mut run = || {
                loop {
                    interrupt::check()?;
                    if queue.len() < most_chunks
                        && let Some(item) = items.next()
                    {
                        let input = fetch(&item)?;
                        queue.spawn(scope, &compute, &is_cancelled, input, item);
                    } else if queue.len() == 0 {
                        return Ok(());
                    } else if let Some((output, item)) = queue.pop_oldest() {
                        deliver(output, &item)?;
                    } else {
                        queue.progress();
                    }
                }
            };
            let result = run();
            // On the way out of the scope the threads run what is queued: after an error, without computing.
            is_cancelled.store(true, Ordering::Relaxed);
            result
        })
    }
}

/// The number of an item, and what became of it.
type Done<Item, Output> = (usize, thread::Result<(Output, Item)>);

/// Chunks on their way, oldest first.
struct Queue<Item, Output> {
    /// Outputs by their distance from the oldest; `None` while they are computed.
    outputs: VecDeque<Option<(Output, Item)>>,
    /// Number of the oldest.
    first: usize,
    sender: Sender<Done<Item, Output>>,
    receiver: Receiver<Done<Item, Output>>,
}

impl<Item: Send, Output: Send> Queue<Item, Output> {
    fn new() -> Self {
        let (sender, receiver) = channel();
        Self { outputs: VecDeque::new(), first: 0, sender, receiver }
    }

    fn len(&self) -> usize {
        self.outputs.len()
    }

    fn spawn<'scope, Input: Send + 'scope>(
        &mut self,
        scope: &ScopeFifo<'scope>,
        compute: &'scope (impl Fn(Input, &Item) -> Output + Sync),
        is_cancelled: &'scope AtomicBool,
        input: Input,
        item: Item,
    ) where
        Item: 'scope,
        Output: 'scope,
    {
        let (number, sender) = (self.first + self.outputs.len(), self.sender.clone());
        self.outputs.push_back(None);
        scope.spawn_fifo(move |_| {
            if is_cancelled.load(Ordering::Relaxed) {
                return;
            }
            // A panic goes to the main thread, which would else wait for this output for ever.
            let output = catch_unwind(AssertUnwindSafe(|| (compute(input, &item), item)));
            // The receiver is gone where the main thread has met an error: then nobody wants the output.
            let _ = sender.send((number, output));
        });
    }

    /// The oldest output, if it is there.
    fn pop_oldest(&mut self) -> Option<(Output, Item)> {
        while let Ok(done) = self.receiver.try_recv() {
            self.take_in(done);
        }
        let oldest = self.outputs.front_mut()?.take()?;
        self.outputs.pop_front();
        self.first += 1;
        Some(oldest)
    }

    /// Computes a waiting chunk on this thread, or waits for another thread's output.
    fn progress(&mut self) {
        if rayon::yield_now() == Some(Yield::Executed) {
            return;
        }
        if let Ok(done) = self.receiver.recv() {
            self.take_in(done);
        }
    }

    fn take_in(&mut self, (number, output): Done<Item, Output>) {
        match output {
            Ok(output) => self.outputs[number - self.first] = Some(output),
            Err(panic) => resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Runs with `jobs` threads, in a thread of its own: one can make only one `Workers`.
    fn with_workers<T: Send>(jobs: u16, run: impl FnOnce(&Workers) -> T + Send) -> T {
        thread::scope(|scope| {
            let running = scope.spawn(|| run(&Workers::try_new(Some(jobs)).unwrap()));
            running.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Keeps a thread busy for a time that differs from item to item.
    fn busy(item: usize) -> usize {
        (0..(item * 7919) % 97 * 1000).fold(item, |sum, n| std::hint::black_box(sum ^ n));
        item * item
    }

    #[test]
    fn delivers_in_order_with_any_number_of_threads() {
        for jobs in [1, 2, 5] {
            let delivered = with_workers(jobs, |workers| {
                let mut delivered = Vec::new();
                let deliver = |output, item: &usize| {
                    delivered.push((*item, output));
                    Ok(())
                };
                workers.in_order(0..200, |item| Ok(*item), |input, _| busy(input), deliver).unwrap();
                delivered
            });
            assert_eq!(delivered, (0..200).map(|item| (item, item * item)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn holds_few_items_at_once_and_uses_every_thread() {
        let held = Mutex::new((0usize, 0usize));
        let threads = Mutex::new(std::collections::HashSet::new());
        with_workers(2, |workers| {
            let fetch = |_: &usize| {
                let mut held = held.lock().unwrap();
                held.0 += 1;
                held.1 = held.1.max(held.0);
                Ok(())
            };
            let compute = |(), item: &usize| {
                threads.lock().unwrap().insert(thread::current().id());
                busy(*item)
            };
            let deliver = |_, _: &usize| {
                held.lock().unwrap().0 -= 1;
                Ok(())
            };
            workers.in_order(0..2000, fetch, compute, deliver).unwrap();
        });
        assert_eq!(held.into_inner().unwrap(), (0, 2 * CHUNKS_PER_THREAD));
        assert_eq!(threads.into_inner().unwrap().len(), 2, "the main thread and one other");
    }

    #[test]
    fn stops_at_the_first_error_of_either_side() {
        let run = |failing_fetch: usize, failing_delivery: usize| {
            with_workers(2, |workers| {
                let mut n_delivered = 0;
                let fail_at = |item, failing, side| match item == failing {
                    true => Err(CliError::new(format!("{side} {item}"))),
                    false => Ok(()),
                };
                let deliver = |(), item: &usize| {
                    fail_at(*item, failing_delivery, "deliver")?;
                    n_delivered += 1;
                    Ok(())
                };
                let result = workers.in_order(
                    0..100,
                    |item| fail_at(*item, failing_fetch, "fetch"),
                    |(), _| (),
                    deliver,
                );
                (result.unwrap_err().to_string(), n_delivered)
            })
        };
        assert_eq!(run(1000, 40), ("deliver 40".to_string(), 40));
        let (message, n_delivered) = run(40, 1000);
        assert_eq!(message, "fetch 40");
        assert!(n_delivered < 40);
    }

    #[test]
    #[should_panic(expected = "of item 7")]
    fn passes_a_panic_on() {
        let compute = |(), item: &usize| assert!(*item != 7, "of item 7");
        with_workers(2, |workers| workers.in_order(0..20, |_| Ok(()), compute, |(), _| Ok(())).unwrap());
    }
}
