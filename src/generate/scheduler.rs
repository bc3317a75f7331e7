use std::collections::VecDeque;
use std::ops::Range;
use std::slice::ChunksExact;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::GenerateError;
use super::completion::{CompletionRun, Gone, Next};
use super::engine::Engine;
use super::events::ChunkRetrieval;
use super::lookup::{Answer, Found, Lookup, Query, Request, Source};
use super::score::ScoreRun;
use crate::model::{Logits, Slot};
use crate::onnx::OnnxError;
use crate::text::{CHUNK_LENGTH, Grid, TokenId};

/// Names a sequence from its admission to its end.
pub(super) type Ticket = u64;

pub(super) enum Message {
    Job(Box<Job>),
    Answer(Answer),
    Stop,
}

/// A sequence that waits for a slot.
pub(super) struct Job {
    pub tokens: Vec<TokenId>,
    pub grid: Grid,
    /// None is retrieval off.
    pub source: Option<Source>,
    pub work: Work,
    pub queued_at: Instant,
    /// Its request's place in the queue, given up when each of the request's jobs has a slot.
    pub place: Place,
}

/// None where the queue is not bounded.
pub(super) type Place = Option<Arc<OwnedSemaphorePermit>>;

/// What becomes of a sequence's logits.
pub(super) enum Work {
    Complete(Box<CompletionRun>),
    Score(ScoreRun),
}

impl Work {
    fn is_gone(&self) -> bool {
        match self {
            Self::Complete(run) => run.is_gone(),
            Self::Score(run) => run.is_gone(),
        }
    }

    pub fn fail(self, error: GenerateError) {
        match self {
            Self::Complete(run) => run.fail(error),
            Self::Score(run) => run.fail(error),
        }
    }

    /// Neighbours were looked up in this version of the collection, and the sequence waited so long for them.
    fn looked_up(&mut self, waited: Duration, version: u64) {
        match self {
            Self::Complete(run) => run.looked_up(waited, version),
            Self::Score(run) => run.looked_up(version),
        }
    }

    fn announce(&mut self, chunk: ChunkRetrieval) {
        match self {
            Self::Complete(run) => run.announce(chunk),
            Self::Score(run) => run.announce(chunk),
        }
    }

    fn logits(&self) -> Logits {
        match self {
            Self::Complete(run) if !run.takes_prompt() => Logits::Last,
            Self::Complete(_) | Self::Score(_) => Logits::All,
        }
    }

    /// Takes the logits of all of the tokens `span`.
    fn take(&mut self, logits: ChunksExact<'_, f32>, tokens: &[TokenId], span: Range<usize>) {
        match self {
            Self::Complete(run) => run.take_prompt(logits, tokens, span),
            Self::Score(run) => run.take(logits, tokens, span),
        }
    }
}

/// A sequence in a slot.
struct Running {
    ticket: Ticket,
    slot: Slot,
    tokens: Vec<TokenId>,
    grid: Grid,
    source: Option<Source>,
    work: Work,
    state: State,
}

enum State {
    /// The lower graph has had so many tokens of the prompt.
    Extending(usize),
    /// It waits for the neighbours of its chunks.
    Parked(Instant),
    /// Its neighbours are known; the upper graph has not had all of its tokens.
    Finishing,
    /// Its last token goes into the next step.
    Decoding,
}

/// Continuous batching: sequences join and leave the running batch at any step.
///
/// A [`tick`](Scheduler::tick) admits who fits, runs one slice of one prompt, so that a long one holds up nobody for longer, and one step
/// of all sequences that decode. A sequence that completes a chunk parks while its neighbours are looked up aside.
pub(super) struct Scheduler<E, L> {
    engine: E,
    lookup: L,
    waiting: VecDeque<Job>,
    /// No slot was free for the first of them.
    full: bool,
    running: Vec<Running>,
    next_ticket: Ticket,
    /// What the sequences that parked in this tick wait for.
    requests: Vec<Request>,
}

impl<E: Engine, L: Lookup> Scheduler<E, L> {
    pub fn new(engine: E, lookup: L) -> Self {
        Self { engine, lookup, waiting: VecDeque::new(), full: false, running: Vec::new(), next_ticket: 0, requests: Vec::new() }
    }

    pub fn queue(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Whether a tick would do anything without a new message.
    pub fn has_work(&self) -> bool {
        !self.waiting.is_empty() && !self.full || self.running.iter().any(|running| !matches!(running.state, State::Parked(_)))
    }

    pub fn tick(&mut self) {
        self.drop_gone();
        self.admit();
        self.prefill();
        self.decode();
        if !self.requests.is_empty() {
            self.lookup.begin(std::mem::take(&mut self.requests));
        }
    }

    /// Ends what runs and what waits.
    pub fn stop(mut self) {
        for job in self.waiting.drain(..) {
            job.work.fail(GenerateError::ShuttingDown);
        }
        for running in self.running.drain(..) {
            running.work.fail(GenerateError::ShuttingDown);
        }
    }

    /// Takes the neighbours that a parked sequence waits for.
    pub fn answer(&mut self, answer: Answer) {
        // It may have ended meanwhile.
        let Some(at) = self.running.iter().position(|running| running.ticket == answer.ticket) else { return };
        let running = &mut self.running[at];
        let State::Parked(since) = running.state else { return };
        let found = match answer.found {
            Ok(found) => found,
            Err(error) => return self.end(at, Some(error)),
        };
        running.state = State::Finishing;
        running.work.looked_up(since.elapsed(), answer.version);
        for Found { chunk, text, encoded, shown: neighbours } in found {
            self.engine.attend(running.slot, chunk, encoded);
            running.work.announce(ChunkRetrieval { choice: 0, chunk: chunk as u32, text, neighbours });
        }
    }

    fn drop_gone(&mut self) {
        self.waiting.retain(|job| !job.work.is_gone());
        for at in (0..self.running.len()).rev() {
            if self.running[at].work.is_gone() {
                tracing::debug!("a client left before its completion was done");
                self.end(at, None);
            }
        }
    }

    fn admit(&mut self) {
        while let Some(job) = self.waiting.front() {
            let Some(slot) = self.engine.open(job.grid, job.source.is_some()) else {
                self.full = true;
                return;
            };
            let mut job = self.waiting.pop_front().expect("there is a first");
            if let Work::Complete(run) = &mut job.work {
                run.admitted(job.queued_at.elapsed());
            }
            self.running.push(Running {
                ticket: self.next_ticket,
                slot,
                tokens: job.tokens,
                grid: job.grid,
                source: job.source,
                work: job.work,
                state: State::Extending(0),
            });
            self.next_ticket += 1;
            drop(job.place);
        }
    }

    /// One slice or span of the first prompt that has one to run; and who only has its last token to finish, finishes.
    fn prefill(&mut self) {
        let mut ran_prompt = false;
        let mut at = 0;
        while at < self.running.len() {
            let running = &self.running[at];
            let ticket = running.ticket;
            let single =
                matches!(running.state, State::Finishing) && matches!(&running.work, Work::Complete(run) if run.has_begun());
            let result = match running.state {
                _ if !single && ran_prompt => Ok(()),
                State::Parked(_) | State::Decoding => Ok(()),
                State::Extending(from) => {
                    ran_prompt = true;
                    self.extend(at, from)
                }
                State::Finishing => {
                    ran_prompt |= !single;
                    self.finish(at)
                }
            };
            if let Err(error) = result {
                self.end(at, Some(error.into()));
            }
            // One that ended left its place to the next.
            at += usize::from(self.running.get(at).is_some_and(|running| running.ticket == ticket));
        }
    }

    fn extend(&mut self, at: usize, from: usize) -> Result<(), OnnxError> {
        let running = &mut self.running[at];
        let to = running.tokens.len().min(from + CHUNK_LENGTH);
        self.engine.extend(running.slot, &running.tokens[from..to])?;
        running.state = State::Extending(to);
        if to == running.tokens.len() {
            let chunks = 0..running.grid.complete_chunks(to);
            self.park(at, chunks);
        }
        Ok(())
    }

    /// Waits for the neighbours of `chunks`, where it has any to wait for.
    fn park(&mut self, at: usize, chunks: Range<usize>) {
        let running = &mut self.running[at];
        let Some(source) = running.source.as_ref().filter(|_| !chunks.is_empty()).cloned() else {
            running.state = State::Finishing;
            return;
        };
        let queries = chunks
            .map(|chunk| Query {
                chunk,
                tokens: running.tokens[running.grid.tokens(chunk)].to_vec(),
                hidden: self.engine.chunk_hidden(running.slot, chunk),
            })
            .collect();
        running.state = State::Parked(Instant::now());
        self.requests.push(Request { ticket: running.ticket, source, queries });
    }

    /// One span of the upper graph; at the end of the sequence, what follows from its logits.
    fn finish(&mut self, at: usize) -> Result<(), OnnxError> {
        let running = &mut self.running[at];
        let wanted = running.work.logits();
        let Some(span) = self.engine.finish(running.slot, wanted)? else { return Ok(()) };
        if wanted == Logits::All {
            running.work.take(self.engine.logits(), &running.tokens, span.clone());
        }
        if span.end < running.tokens.len() {
            return Ok(());
        }
        match &mut running.work {
            Work::Complete(run) => {
                let rows = if wanted == Logits::All { span.len() } else { 1 };
                let logits = self.engine.logits().nth(rows - 1).expect("the last token's");
                let next = run.next(logits);
                self.follow(at, next);
            }
            Work::Score(run) => {
                run.done();
                self.end(at, None);
            }
        }
        Ok(())
    }

    fn decode(&mut self) {
        let places: Vec<usize> =
            (0..self.running.len()).filter(|&at| matches!(self.running[at].state, State::Decoding)).collect();
        if places.is_empty() {
            return;
        }
        let last = |running: &Running| (running.slot, *running.tokens.last().expect("a prompt has tokens"));
        let batch: Vec<(Slot, TokenId)> = places.iter().map(|&at| last(&self.running[at])).collect();
        match self.engine.step(&batch) {
            Ok(finished) => {
                // All logits are read before a sequence ends, since others move into its place.
                let nexts: Vec<_> = places.iter().zip(finished).map(|(&at, finished)| self.next(at, finished)).collect();
                // From the last on: one that ends leaves the places before it as they are.
                for (at, next) in places.into_iter().zip(nexts).rev() {
                    match next {
                        Some(next) => self.follow(at, next),
                        None => {
                            let (running, length) = (&self.running[at], self.running[at].tokens.len());
                            let chunks = running.grid.complete_chunks(length - 1)..running.grid.complete_chunks(length);
                            self.park(at, chunks);
                        }
                    }
                }
            }
            Err(error) => {
                for at in places.into_iter().rev() {
                    self.end(at, Some(error.clone().into()));
                }
            }
        }
    }

    /// What follows from the logits of a step; none where the sequence completed a chunk instead.
    fn next(&mut self, at: usize, finished: bool) -> Option<Result<Next, Gone>> {
        let running = &mut self.running[at];
        match &mut running.work {
            Work::Complete(run) if finished => Some(run.next(self.engine.logits_of(running.slot))),
            _ => None,
        }
    }

    fn follow(&mut self, at: usize, next: Result<Next, Gone>) {
        let running = &mut self.running[at];
        match next {
            Ok(Next::Token(token)) => {
                running.tokens.push(token);
                running.state = State::Decoding;
            }
            Ok(Next::Done) | Err(Gone) => self.end(at, None),
        }
    }

    fn end(&mut self, at: usize, error: Option<GenerateError>) {
        let ended = self.running.remove(at);
        self.full = false;
        let error = error.or(self.engine.close(ended.slot).err().map(Into::into));
        if let Some(error) = error {
            ended.work.fail(error);
        }
    }
}
