//! The queue of promise jobs.
//!
//! Runs them in order until none is left. There are no timers and nothing to wait for, so a job
//! that asks for time is dropped. The invariant: it never blocks, and it gives up after
//! so many jobs even where the sandbox's fuel would allow more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::task::{self, Poll, Waker};

use boa_engine::job::{Job, JobExecutor};
use boa_engine::{Context, JsResult};

/// How many jobs a program may make.
pub(crate) const JOBS_MAX: usize = 200_000;

/// The jobs of one program.
pub(crate) struct Jobs {
    max: usize,
    waiting: RefCell<VecDeque<Job>>,
    is_stopped: Cell<bool>,
}

impl Jobs {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, waiting: RefCell::default(), is_stopped: Cell::new(false) }
    }

    /// How many jobs it runs.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Whether it gave up.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.get()
    }

    fn next(&self) -> Option<Job> {
        self.waiting.borrow_mut().pop_front()
    }
}

impl JobExecutor for Jobs {
    fn enqueue_job(self: Rc<Self>, job: Job, _: &mut Context) {
        self.waiting.borrow_mut().push_back(job);
    }

    fn run_jobs(self: Rc<Self>, context: &mut Context) -> JsResult<()> {
        let mut run = 0;
        while let Some(job) = self.next() {
            if run == self.max {
                self.is_stopped.set(true);
                return Ok(());
            }
            run += 1;
            match job {
                Job::PromiseJob(job) => drop(job.call(context)?),
                Job::GenericJob(job) => drop(job.call(context)?),
                Job::AsyncJob(job) => {
                    // Nothing here waits, so what is not ready at once never will be.
                    let cell = RefCell::new(&mut *context);
                    let future = pin!(job.call(&cell));
                    if let Poll::Ready(result) =
                        future.poll(&mut task::Context::from_waker(Waker::noop()))
                    {
                        result?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
