//! Enqueueing through the host: what a task never calls, its module does not import.

use super::sandbox::Host;
use super::sandbox::bindings::stem::task::enqueue;
use crate::child::{EnqueueError, Request};

#[allow(
    clippy::unused_self,
    reason = "the recorder of native tests has the same methods, and state"
)]
impl Host {
    pub(crate) fn enqueue(&self, request: Request) -> Result<String, EnqueueError> {
        let task = request.task.clone();
        enqueue::submit(&request.into()).map_err(|refused| error(refused, task))
    }

    pub(crate) fn enqueue_all(&self, requests: Vec<Request>) -> Vec<Result<String, EnqueueError>> {
        let tasks: Vec<String> = requests.iter().map(|one| one.task.clone()).collect();
        let requests: Vec<enqueue::Request> = requests.into_iter().map(Into::into).collect();
        let answers = enqueue::submit_all(&requests).into_iter().zip(tasks);
        answers
            .map(|(answer, task)| answer.map_err(|refused| error(refused, task)))
            .collect()
    }
}

impl From<Request> for enqueue::Request {
    fn from(request: Request) -> Self {
        Self {
            task: request.task,
            payload: request.payload.into(),
            key: request.key,
            headers: request.headers,
            options: request.options,
        }
    }
}

fn error(refused: enqueue::Refused, task: String) -> EnqueueError {
    match refused {
        enqueue::Refused::NotGranted => EnqueueError::NotGranted { task },
        enqueue::Refused::Invalid(why) => EnqueueError::Invalid(why),
        enqueue::Refused::Limited(why) => EnqueueError::Limited(why),
        enqueue::Refused::Unavailable(why) => EnqueueError::Unavailable(why),
        enqueue::Refused::Other(why) => EnqueueError::Other(why),
    }
}
