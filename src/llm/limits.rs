//! Concurrency and rate limits of requests.

use std::{cell::RefCell, collections::VecDeque, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::endpoint::EndpointSpec;

const MINUTE: Duration = Duration::from_secs(60);
/// Failed connections after which an endpoint that never replied counts as unreachable.
const UNREACHED: usize = 40;

/// Limits of one endpoint, used only on the client's thread.
pub struct Limits {
    state: RefCell<State>,
    changed: Notify,
    most: usize,
    requests: Option<usize>,
    tokens: Option<u64>,
}

struct State {
    /// Current maximum number of concurrent requests.
    limit: usize,
    in_flight: usize,
    /// Successful responses since the limit last changed.
    good: usize,
    /// When the limit was last reduced; a 429 to an earlier request does not reduce it again.
    shrunk: Option<Instant>,
    /// No request is sent before this time.
    not_before: Option<Instant>,
    /// Whether any reply was ever received, and the number of failed connections before.
    reached: bool,
    unreached: usize,
    /// Requests of the last minute: time and tokens.
    sent: VecDeque<(Instant, u64)>,
}

/// Permission to send a request.
pub struct Slot<'a> {
    limits: &'a Limits,
    pub since: Instant,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.limits.state.borrow_mut().in_flight -= 1;
        self.limits.changed.notify_waiters();
    }
}

impl Limits {
    /// The limits of an endpoint. It starts with at most 20 concurrent requests.
    pub fn new(endpoint: &EndpointSpec) -> Self {
        Self {
            state: RefCell::new(State {
                limit: endpoint.concurrency.min(20),
                in_flight: 0,
                good: 0,
                shrunk: None,
                not_before: None,
                reached: false,
                unreached: 0,
                sent: VecDeque::new(),
            }),
            changed: Notify::new(),
            most: endpoint.concurrency,
            requests: endpoint.requests_per_minute.map(|limit| limit as usize),
            tokens: endpoint.tokens_per_minute,
        }
    }

    /// Waits until a request of about this many tokens may be sent.
    pub async fn slot(&self, tokens: u64) -> Slot<'_> {
        loop {
            let wait = {
                let mut state = self.state.borrow_mut();
                let now = Instant::now();
                while state.sent.front().is_some_and(|(at, _)| *at + MINUTE <= now) {
                    state.sent.pop_front();
                }
                let paused = state.not_before.filter(|until| *until > now);
                let full = self.full(&state, tokens);
                match (state.in_flight < state.limit, paused, full) {
                    (true, None, None) => {
                        state.in_flight += 1;
                        state.sent.push_back((now, tokens));
                        return Slot { limits: self, since: now };
                    }
                    (_, paused, full) => paused.max(full).unwrap_or(now + Duration::from_secs(1)),
                }
            };
            // Wakes up when another request finishes, or at that time.
            let _ = tokio::time::timeout_at(wait, self.changed.notified()).await;
        }
    }

    /// When the rate limits allow a request of this many tokens, if not now.
    fn full(&self, state: &State, tokens: u64) -> Option<Instant> {
        if let Some(limit) = self.requests
            && state.sent.len() >= limit
        {
            return state.sent.get(state.sent.len() - limit).map(|(at, _)| *at + MINUTE);
        }
        let limit = self.tokens?;
        let mut held: u64 = state.sent.iter().map(|(_, tokens)| tokens).sum();
        // A request that is larger than the limit is sent alone.
        if held + tokens <= limit || state.sent.is_empty() {
            return None;
        }
        for (at, of) in &state.sent {
            held -= of;
            if held + tokens <= limit {
                return Some(*at + MINUTE);
            }
        }
        state.sent.back().map(|(at, _)| *at + MINUTE)
    }

    /// Notes a successful response; after as many as the limit, the limit grows by one.
    pub fn good(&self) {
        let mut state = self.state.borrow_mut();
        state.good += 1;
        if state.good >= state.limit && state.limit < self.most {
            state.limit += 1;
            state.good = 0;
            self.changed.notify_waiters();
        }
    }

    /// Notes a reply with status 429 to a request sent at `since`: halves the limit, and sends no request before `after`
    /// has passed.
    pub fn limited(&self, since: Instant, after: Option<Duration>) {
        let mut state = self.state.borrow_mut();
        let now = Instant::now();
        if state.shrunk.is_none_or(|shrunk| since > shrunk) {
            state.limit = (state.limit / 2).max(1);
            (state.good, state.shrunk) = (0, Some(now));
        }
        if let Some(after) = after {
            let until = now + after;
            state.not_before = Some(state.not_before.map_or(until, |before| before.max(until)));
        }
    }

    /// Notes whether a reply was received. Returns true if many connections failed and no reply was ever received.
    pub fn note_reply(&self, replied: bool) -> bool {
        let mut state = self.state.borrow_mut();
        state.reached |= replied;
        state.unreached += usize::from(!replied);
        !state.reached && state.unreached > UNREACHED
    }

    /// Corrects the tokens of a request to the number it used.
    pub fn settle(&self, since: Instant, tokens: u64) {
        let mut state = self.state.borrow_mut();
        if let Some(entry) = state.sent.iter_mut().find(|(at, _)| *at == since) {
            entry.1 = tokens;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    fn run(work: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, work);
    }

    fn endpoint(concurrency: usize) -> EndpointSpec {
        EndpointSpec { concurrency, ..EndpointSpec::default() }
    }

    #[test]
    fn concurrent_requests_do_not_exceed_the_limit() {
        run(async {
            let limits = Rc::new(Limits::new(&endpoint(3)));
            let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let tasks: Vec<_> = (0..40)
                .map(|_| {
                    let (limits, now, most) = (limits.clone(), now.clone(), most.clone());
                    tokio::task::spawn_local(async move {
                        let _slot = limits.slot(1).await;
                        now.set(now.get() + 1);
                        most.set(most.get().max(now.get()));
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        now.set(now.get() - 1);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(most.get(), 3);
        });
    }

    #[test]
    fn one_wave_of_429_halves_the_limit_once_and_responses_let_it_grow() {
        run(async {
            let limits = Limits::new(&endpoint(100));
            assert_eq!(limits.state.borrow().limit, 20);
            let sent = Instant::now();
            for _ in 0..20 {
                limits.limited(sent, Some(Duration::from_millis(30)));
            }
            assert_eq!(limits.state.borrow().limit, 10);
            let before = Instant::now();
            drop(limits.slot(1).await);
            assert!(before.elapsed() >= Duration::from_millis(25));
            for _ in 0..10 {
                limits.good();
            }
            assert_eq!(limits.state.borrow().limit, 11);
        });
    }

    #[test]
    fn rate_limits_apply_to_every_minute() {
        run(async {
            let mut spec = endpoint(100);
            (spec.requests_per_minute, spec.tokens_per_minute) = (Some(3), Some(100));
            let limits = Limits::new(&spec);
            for _ in 0..2 {
                drop(limits.slot(40).await);
            }
            let full = |tokens: u64| limits.full(&limits.state.borrow(), tokens);
            assert!(full(20).is_none() && full(21).is_some());
            drop(limits.slot(5).await);
            assert!(full(1).unwrap() > Instant::now() + Duration::from_secs(59));
        });
    }
}
