use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::GenerateError;
use super::completion::{Gone, Next};
use super::engine::Engine;
use super::job::{Job, Work};
use super::lookup::{Answer, Lookup, Query, Request, Source};
use super::prefetch::{Boundary, Prefetch};
use crate::metrics;
use crate::model::{Logits, Slot};
use crate::onnx::{Cores, OnnxError};
use crate::telemetry::linked;
use crate::text::{CHUNK_LENGTH, Grid, TokenId};

/// Names a sequence from its admission to its end.
pub(super) type Ticket = u64;

pub(super) enum Message {
    Job(Box<Job>),
    Answer(Answer),
    Stop,
}

/// Prompts that a tick runs a slice of. Of clients that come at the same moment the last one's answer begins this many times as early as if
/// their prompts were read one after the other, and ends close to the first one's; who decodes meanwhile waits for that many slices a token.
const PROMPTS: usize = 8;

/// A sequence in a slot.
struct Running {
    ticket: Ticket,
    slot: Slot,
    tokens: Vec<TokenId>,
    grid: Grid,
    source: Option<Source>,
    /// None: it parks at the end of each chunk.
    prefetch: Option<Prefetch>,
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
/// A [`tick`](Scheduler::tick) admits who fits, runs one slice of each of [`PROMPTS`] prompts, so that a long one holds up nobody for longer,
/// and one step of all sequences that decode. A sequence that completes a chunk parks while its neighbours are looked up aside; one with a
/// [`Prefetch`] does so for its prompt only.
pub(super) struct Scheduler<E, L> {
    engine: E,
    lookup: L,
    waiting: VecDeque<Job>,
    /// Too few slots were free for the first of them.
    full: bool,
    running: Vec<Running>,
    next_ticket: Ticket,
    /// What is to be looked up since this tick.
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
        self.tell_load();
    }

    fn tell_load(&self) {
        let metrics = metrics::get();
        metrics.queue_length.set(self.waiting.len() as i64);
        metrics.sequences_running.set(self.running.len() as i64);
    }

    /// Ends what runs and what waits.
    pub fn stop(mut self) {
        for job in self.waiting.drain(..) {
            job.work.fail(GenerateError::ShuttingDown);
        }
        for running in self.running.drain(..) {
            running.work.fail(GenerateError::ShuttingDown);
        }
        self.tell_load();
    }

    /// Takes the neighbours that a sequence waits for or has asked for early.
    pub fn answer(&mut self, answer: Answer) {
        // It may have ended meanwhile.
        let Some(at) = self.running.iter().position(|running| running.ticket == answer.ticket) else { return };
        let running = &mut self.running[at];
        let found = match answer.found {
            Ok(found) => found,
            Err(failed) => match running.work.goes_on_after(&failed.error) {
                Some(error) => failed.without(error),
                None => return self.end(at, Some(failed.error)),
            },
        };
        if let State::Parked(since) = running.state {
            running.state = State::Finishing;
            running.work.looked_up(since.elapsed(), answer.version);
            for found in found {
                if let Some(prefetch) = &mut running.prefetch {
                    prefetch.attend(found.encoded.clone());
                }
                let chunk = found.chunk;
                self.engine.attend(running.slot, chunk, found.encoded.clone());
                running.work.announce(found.told(chunk, 0));
            }
        } else if let Some(prefetch) = &mut running.prefetch {
            running.work.looked_up(Duration::ZERO, answer.version);
            let run = running.tokens.len() - 1;
            let failures = found.into_iter().filter_map(|found| prefetch.arrive(run, found));
            failures.for_each(|failure| running.work.announce(failure));
        }
    }

    fn drop_gone(&mut self) {
        self.waiting.retain(|job| {
            let is_gone = job.work.is_gone();
            if is_gone {
                job.work.left();
            }
            !is_gone
        });
        for at in (0..self.running.len()).rev() {
            if self.running[at].work.is_gone() {
                self.leave(at);
            }
        }
    }

    fn admit(&mut self) {
        // Slots that are kept for the choices of those whose prompts are not done.
        let mut kept: usize = self.running.iter().map(|running| running.work.to_fork()).sum();
        while let Some(job) = self.waiting.front() {
            kept += job.work.to_fork();
            if self.engine.free_slots() <= kept {
                self.full = true;
                return;
            }
            let mut job = self.waiting.pop_front().expect("there is a first");
            let waited = job.queued_at.elapsed();
            metrics::get().queue_wait.observe(waited.as_secs_f64());
            let slot = self.engine.open(job.grid, job.source.is_some()).expect("a slot is free");
            if let Work::Complete(run) = &mut job.work {
                run.admitted(waited);
            }
            self.running.push(Running {
                ticket: self.next_ticket,
                slot,
                tokens: job.tokens,
                grid: job.grid,
                source: job.source,
                prefetch: job.prefetch,
                work: job.work,
                state: State::Extending(0),
            });
            self.next_ticket += 1;
            drop(job.place);
        }
    }

    /// One slice or span of each of the first prompts that have one to run; and who only has its last token to finish, finishes.
    fn prefill(&mut self) {
        let mut prompts = 0;
        let mut at = 0;
        while at < self.running.len() {
            let running = &self.running[at];
            let ticket = running.ticket;
            let single =
                matches!(running.state, State::Finishing) && matches!(&running.work, Work::Complete(run) if run.has_begun());
            let result = match running.state {
                _ if !single && prompts == PROMPTS => Ok(()),
                State::Parked(_) | State::Decoding => Ok(()),
                State::Extending(from) => {
                    prompts += 1;
                    self.extend(at, from)
                }
                State::Finishing => {
                    prompts += usize::from(!single);
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
        let run = tracing::trace_span!(parent: running.work.span(), "lower", tokens = to - from);
        run.in_scope(|| self.engine.extend(running.slot, &running.tokens[from..to]))?;
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
        let span = running.work.span().clone();
        self.requests.push(Request { ticket: running.ticket, cores: Cores::All, source, queries, span });
    }

    /// One span of the upper graph; at the end of the sequence, what follows from its logits.
    fn finish(&mut self, at: usize) -> Result<(), OnnxError> {
        let running = &mut self.running[at];
        let wanted = running.work.logits();
        let run = tracing::trace_span!(parent: running.work.span(), "upper");
        let Some(span) = run.in_scope(|| self.engine.finish(running.slot, wanted))? else { return Ok(()) };
        if wanted == Logits::All {
            running.work.take(self.engine.logits(), &running.tokens, span.clone());
        }
        if span.end < running.tokens.len() {
            return Ok(());
        }
        let row = if wanted == Logits::All { span.len() - 1 } else { 0 };
        let places: Vec<usize> = std::iter::once(at).chain(self.fork(at)?).collect();
        let logits = self.engine.logits().nth(row).expect("the last token's");
        let nexts: Vec<_> = places.iter().map(|&at| self.running[at].work.next(logits)).collect();
        // From the last on: one that ends leaves the places before it as they are.
        for (at, next) in places.into_iter().zip(nexts).rev() {
            self.follow(at, next);
        }
        Ok(())
    }

    /// Copies a sequence for the other choices that go on from its prompt, and gives the places of the copies.
    fn fork(&mut self, at: usize) -> Result<Range<usize>, OnnxError> {
        let from = self.running.len();
        for work in self.running[at].work.forks() {
            let prompt = &self.running[at];
            let slot = match self.engine.fork(prompt.slot) {
                Ok(slot) => slot.expect("a slot is kept for each choice"),
                Err(error) => {
                    (from..self.running.len()).rev().for_each(|at| self.end(at, None));
                    return Err(error);
                }
            };
            self.running.push(Running {
                ticket: self.next_ticket,
                slot,
                tokens: prompt.tokens.clone(),
                grid: prompt.grid,
                source: prompt.source.clone(),
                prefetch: prompt.prefetch.clone(),
                work,
                state: State::Decoding,
            });
            self.next_ticket += 1;
        }
        Ok(from..self.running.len())
    }

    fn decode(&mut self) {
        let places: Vec<usize> =
            (0..self.running.len()).filter(|&at| matches!(self.running[at].state, State::Decoding)).collect();
        if places.is_empty() {
            return;
        }
        places.iter().for_each(|&at| self.take_up(at));
        let last = |running: &Running| (running.slot, *running.tokens.last().expect("a prompt has tokens"));
        let batch: Vec<(Slot, TokenId)> = places.iter().map(|&at| last(&self.running[at])).collect();
        let span = |at: &usize| self.running[*at].work.span();
        let run = tracing::trace_span!(parent: span(&places[0]), "step", sequences = places.len());
        let (run, began) = (linked(run, places[1..].iter().map(span)), Instant::now());
        let stepped = run.in_scope(|| self.engine.step(&batch));
        metrics::get().step_duration.observe(began.elapsed().as_secs_f64());
        metrics::get().step_rows.observe(places.len() as f64);
        match stepped {
            Ok(finished) => {
                // All logits are read before a sequence ends, since others move into its place.
                let next = |(&at, finished): (&usize, bool)| {
                    let running = &mut self.running[at];
                    finished.then(|| running.work.next(self.engine.logits_of(running.slot)))
                };
                let nexts: Vec<_> = places.iter().zip(finished).map(next).collect();
                // From the last on: one that ends leaves the places before it as they are.
                for (at, next) in places.into_iter().zip(nexts).rev() {
                    match next {
                        Some(next) => self.follow(at, next),
                        // It completed a chunk instead.
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

    fn follow(&mut self, at: usize, next: Result<Next, Gone>) {
        let running = &mut self.running[at];
        match next {
            Ok(Next::Token(token)) => {
                running.tokens.push(token);
                running.state = State::Decoding;
                self.prefetch(at);
            }
            Ok(Next::Done) => self.end(at, None),
            Err(Gone) => self.leave(at),
        }
    }

    fn leave(&mut self, at: usize) {
        tracing::debug!(parent: self.running[at].work.span(), "a client left before its completion was done");
        self.running[at].work.left();
        self.end(at, None);
    }

    /// Begins to look up what the sequence attends later, where it is time to.
    fn prefetch(&mut self, at: usize) {
        let running = &mut self.running[at];
        let (Some(prefetch), Some(source)) = (&mut running.prefetch, &running.source) else { return };
        // The last token has no hidden state before the next step.
        let Some((chunk, window)) = prefetch.begin(running.tokens.len() - 1) else { return };
        let (tokens, hidden) = (running.tokens[window].to_vec(), self.engine.chunk_hidden(running.slot, chunk));
        let (queries, span) = (vec![Query { chunk, tokens, hidden }], running.work.span().clone());
        // The sequence goes on meanwhile.
        self.requests.push(Request { ticket: running.ticket, cores: Cores::AllButOne, source: source.clone(), queries, span });
    }

    /// Where the next step completes a chunk of a sequence that does not park, says before it what the chunk attends.
    fn take_up(&mut self, at: usize) {
        let running = &mut self.running[at];
        let Some(prefetch) = &mut running.prefetch else { return };
        let Some(Boundary { chunk, neighbours, news }) = prefetch.boundary(running.tokens.len()) else { return };
        self.engine.attend(running.slot, chunk, neighbours);
        match news {
            Some(retrieval) => running.work.announce(retrieval),
            None => running.work.late(),
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
