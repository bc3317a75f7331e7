use std::cell::{Ref, RefCell, RefMut};
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::slice::ChunksExact;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use tokio::sync::mpsc;

use crate::generate::GenerateError;
use crate::generate::completion::CompletionRun;
use crate::generate::engine::Engine;
use crate::generate::events::{Event, EventStream, NeighbourView};
use crate::generate::job::{Job, Work};
use crate::generate::lookup::{Answer, Failed, Found, Lookup, Request, Source};
use crate::generate::prefetch::Prefetch;
use crate::generate::request::{Alignment, CompletionRequest, Limits, MAX_CHOICES, OnError, RetrievalRequest};
use crate::generate::scheduler::{Scheduler, Ticket};
use crate::generate::score::{ScoreAnswer, ScoreRun};
use crate::model::{Checked, EncodedNeighbours, Logits, ModelFolder, Slot};
use crate::onnx::{Cores, Device, OnnxError};
use crate::text::{CHUNK_LENGTH, Grid, TokenId, Tokenizer};

/// A model whose every logit prefers token 5, and that keeps a log.
#[derive(Default)]
pub struct FakeEngine {
    slots: Vec<Option<FakeSequence>>,
    pub log: Vec<String>,
    pub open: usize,
    pub fail_next_step: bool,
    /// How many forks work before one fails.
    pub forks_left: Option<usize>,
    /// Slot, chunk and neighbours, as they were said.
    attended: Vec<(usize, usize, Option<Arc<EncodedNeighbours>>)>,
    logits: Vec<f32>,
    /// Of logits that the last `finish` gave.
    rows: usize,
}

#[derive(Clone)]
struct FakeSequence {
    grid: Grid,
    retrieval: bool,
    length: usize,
    finished: usize,
    known: Vec<usize>,
}

impl FakeEngine {
    pub fn steps(&self) -> usize {
        self.log.iter().filter(|line| line.starts_with("step")).count()
    }

    fn take_slot(&mut self, sequence: FakeSequence) -> Option<Slot> {
        let slot = self.slots.iter().position(Option::is_none)?;
        self.slots[slot] = Some(sequence);
        self.open += 1;
        Some(Slot(slot))
    }

    fn sequence(&mut self, slot: Slot) -> &mut FakeSequence {
        self.slots[slot.0].as_mut().expect("an open slot")
    }
}

impl FakeSequence {
    fn ready(&self) -> Option<Range<usize>> {
        if self.finished == self.length {
            return None;
        }
        let (chunk, span) = self.grid.span(self.finished..self.length);
        (!self.retrieval || chunk.is_none_or(|chunk| self.known.contains(&chunk))).then_some(span)
    }
}

/// Shared with the test, which looks into it.
type Shared<T> = Rc<RefCell<T>>;

impl Engine for Shared<FakeEngine> {
    fn free_slots(&self) -> usize {
        self.borrow().slots.iter().filter(|slot| slot.is_none()).count()
    }

    fn open(&mut self, grid: Grid, retrieval: bool) -> Option<Slot> {
        let mut engine = self.borrow_mut();
        let slot = engine.take_slot(FakeSequence { grid, retrieval, length: 0, finished: 0, known: Vec::new() })?;
        engine.log.push(format!("open {}", slot.0));
        Some(slot)
    }

    fn fork(&mut self, slot: Slot) -> Result<Option<Slot>, OnnxError> {
        let mut engine = self.borrow_mut();
        if engine.forks_left == Some(0) {
            return Err(OnnxError::Run { graph: "lower".to_owned(), reason: "as the test wants it".to_owned() });
        }
        engine.forks_left = engine.forks_left.map(|left| left - 1);
        let forked = engine.sequence(slot).clone();
        let Some(free) = engine.take_slot(forked) else { return Ok(None) };
        engine.log.push(format!("fork {} {}", slot.0, free.0));
        Ok(Some(free))
    }

    fn close(&mut self, slot: Slot) -> Result<(), OnnxError> {
        let mut engine = self.borrow_mut();
        engine.slots[slot.0].take().expect("an open slot");
        engine.open -= 1;
        Ok(())
    }

    fn extend(&mut self, slot: Slot, tokens: &[TokenId]) -> Result<Range<usize>, OnnxError> {
        let mut engine = self.borrow_mut();
        engine.log.push(format!("extend {} {}", slot.0, tokens.len()));
        let sequence = engine.sequence(slot);
        let before = sequence.grid.complete_chunks(sequence.length);
        sequence.length += tokens.len();
        Ok(before..sequence.grid.complete_chunks(sequence.length))
    }

    /// The tokens of the sequence so far, in the place of hidden states.
    fn chunk_hidden(&self, slot: Slot, _: usize) -> Vec<u8> {
        self.borrow_mut().sequence(slot).length.to_le_bytes().to_vec()
    }

    fn attend(&mut self, slot: Slot, chunk: usize, neighbours: Option<Arc<EncodedNeighbours>>) {
        let mut engine = self.borrow_mut();
        engine.sequence(slot).known.push(chunk);
        engine.attended.push((slot.0, chunk, neighbours));
    }

    fn finish(&mut self, slot: Slot, logits: Logits) -> Result<Option<Range<usize>>, OnnxError> {
        let mut engine = self.borrow_mut();
        let sequence = engine.sequence(slot);
        let Some(span) = sequence.ready() else { return Ok(None) };
        sequence.finished = span.end;
        engine.rows = if logits == Logits::All { span.len() } else { 1 };
        engine.log.push(format!("finish {} {logits:?}", slot.0));
        Ok(Some(span))
    }

    fn step(&mut self, batch: &[(Slot, TokenId)]) -> Result<Vec<bool>, OnnxError> {
        let mut engine = self.borrow_mut();
        if std::mem::take(&mut engine.fail_next_step) {
            return Err(OnnxError::Run { graph: "lower".to_owned(), reason: "as the test wants it".to_owned() });
        }
        engine.log.push(format!("step {:?}", batch.iter().map(|(slot, _)| slot.0).collect::<Vec<_>>()));
        Ok(batch
            .iter()
            .map(|&(slot, _)| {
                let sequence = engine.sequence(slot);
                sequence.length += 1;
                let ready = sequence.ready().is_some();
                sequence.finished += usize::from(ready);
                ready
            })
            .collect())
    }

    fn logits(&self) -> ChunksExact<'_, f32> {
        // The numbers never change, so that they can be given out past the borrow.
        let engine = self.borrow();
        let logits: &[f32] = Box::leak(engine.logits.repeat(engine.rows).into_boxed_slice());
        logits.chunks_exact(engine.logits.len())
    }

    fn logits_of(&self, _: Slot) -> &[f32] {
        Box::leak(self.borrow().logits.clone().into_boxed_slice())
    }
}

/// Keeps what is asked until the test answers.
#[derive(Default)]
pub struct FakeLookup {
    waiting: Vec<(Ticket, Vec<usize>)>,
    /// What was asked together: the chunks of each sequence.
    pub batches: Vec<Vec<Vec<usize>>>,
    /// Of each batch the cores that it may take.
    pub cores: Vec<Cores>,
    /// Of each query its tokens, and those of the sequence when it was asked.
    pub queries: Vec<(usize, usize)>,
}

impl FakeLookup {
    /// What is not answered yet.
    pub fn open(&self) -> Vec<(Ticket, Vec<usize>)> {
        self.waiting.clone()
    }

    pub fn chunks(batches: &[Vec<Vec<usize>>]) -> Vec<usize> {
        batches.iter().flatten().flatten().copied().collect()
    }
}

impl Lookup for Shared<FakeLookup> {
    fn begin(&self, requests: Vec<Request>) {
        let mut lookup = self.borrow_mut();
        let chunks = |request: &Request| request.queries.iter().map(|query| query.chunk).collect::<Vec<_>>();
        let length = |hidden: &[u8]| usize::from_le_bytes(hidden.try_into().expect("from the fake engine"));
        let queries = requests.iter().flat_map(|request| &request.queries);
        lookup.queries.extend(queries.map(|query| (query.tokens.len(), length(&query.hidden))));
        lookup.cores.extend(requests.first().map(|request| request.cores));
        lookup.batches.push(requests.iter().map(chunks).collect());
        lookup.waiting.extend(requests.iter().map(|request| (request.ticket, chunks(request))));
    }
}

/// A completion of a prompt of so many tokens, with so many new ones.
pub struct Wanted {
    prompt: usize,
    max_tokens: usize,
    retrieval: bool,
    interval: usize,
    prefetch: bool,
    on_error: Option<OnError>,
    echo: bool,
    logprobs: Option<usize>,
    choices: usize,
}

pub fn completion(prompt: usize, max_tokens: usize) -> Wanted {
    let (retrieval, interval, prefetch, on_error) = (true, CHUNK_LENGTH, false, None);
    Wanted { prompt, max_tokens, retrieval, interval, prefetch, on_error, echo: false, logprobs: None, choices: 1 }
}

impl Wanted {
    pub fn without_retrieval(self) -> Self {
        Self { retrieval: false, ..self }
    }

    pub fn with_echo(self, logprobs: Option<usize>) -> Self {
        Self { echo: true, logprobs, ..self }
    }

    pub fn with_choices(self, choices: usize) -> Self {
        Self { choices, ..self }
    }

    pub fn with_interval(self, interval: usize) -> Self {
        Self { interval, ..self }
    }

    pub fn with_prefetch(self) -> Self {
        Self { prefetch: true, ..self }
    }

    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error: Some(on_error), ..self }
    }
}

/// Who asked for a completion.
pub struct Client {
    stream: EventStream,
    events: Vec<Result<Event, GenerateError>>,
}

impl Client {
    /// All that has come so far.
    pub fn events(&mut self) -> &[Result<Event, GenerateError>] {
        while let Some(Some(event)) = self.stream.next().now_or_never() {
            self.events.push(event);
        }
        &self.events
    }

    pub fn is_done(&mut self) -> bool {
        matches!(self.events().last(), Some(Ok(Event::Done(_))))
    }
}

pub struct Harness {
    scheduler: Option<Scheduler<Shared<FakeEngine>, Shared<FakeLookup>>>,
    engine: Shared<FakeEngine>,
    lookup: Shared<FakeLookup>,
    /// What was answered, in order.
    answered: Vec<Arc<EncodedNeighbours>>,
    folder: ModelFolder,
    tokenizer: Arc<Tokenizer>,
}

impl Harness {
    pub fn new(slots: usize) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/retro-nano");
        let folder = ModelFolder::open(&path, "int8", Device::Cpu, Checked::Chosen).unwrap();
        let tokenizer = Arc::new(Tokenizer::load(&folder.tokenizer()).unwrap());
        let mut logits = vec![0.0; folder.manifest().vocabulary];
        logits[300] = 1.0;
        let engine = FakeEngine { slots: (0..slots).map(|_| None).collect(), logits, ..FakeEngine::default() };
        let (engine, lookup) = (Rc::new(RefCell::new(engine)), Rc::default());
        let scheduler = Some(Scheduler::new(Rc::clone(&engine), Rc::clone(&lookup)));
        Self { scheduler, engine, lookup, answered: Vec::new(), folder, tokenizer }
    }

    pub fn queue(&mut self, wanted: Wanted) -> Client {
        let manifest = self.folder.manifest();
        let request = CompletionRequest {
            max_tokens: Some(wanted.max_tokens),
            n: Some(wanted.choices),
            echo: wanted.echo,
            logprobs: wanted.logprobs,
            retrieval: RetrievalRequest {
                enabled: Some(wanted.retrieval),
                prefetch: wanted.prefetch,
                on_error: wanted.on_error,
                ..Default::default()
            },
            ..CompletionRequest::new("a")
        };
        let limits = Limits { max_n: MAX_CHOICES, ..Limits::from(&**manifest) };
        let valid = request.validate(&limits, &self.tokenizer).unwrap();
        let (sender, receiver) = mpsc::channel(1024);
        let grid = Alignment::PromptEnd.grid(wanted.prompt).refreshed(wanted.prompt, wanted.interval);
        let job = Job {
            tokens: vec![300; wanted.prompt],
            grid,
            prefetch: wanted.prefetch.then(|| Prefetch::new(grid, wanted.prompt + wanted.max_tokens)),
            source: wanted.retrieval.then(|| Source::Provided(Vec::new(), Vec::<NeighbourView>::new())),
            work: Work::Complete(Box::new(CompletionRun::new(Arc::clone(&self.tokenizer), &valid, manifest, sender))),
            queued_at: Instant::now(),
            place: None,
        };
        self.scheduler().queue(job);
        Client { stream: EventStream::new(receiver, wanted.choices, Arc::default()), events: Vec::new() }
    }

    /// A score of a text of so many tokens, of which the first `given` are not scored; the neighbours are looked up with `retrieval`.
    pub fn score(&mut self, tokens: usize, given: usize, retrieval: bool) -> ScoreAnswer {
        let (run, answer) = ScoreRun::new(given, 300);
        let job = Job {
            tokens: vec![300; tokens - 1],
            grid: Grid::prompt_start(),
            source: retrieval.then(|| Source::Provided(Vec::new(), Vec::new())),
            prefetch: None,
            work: Work::Score(run),
            queued_at: Instant::now(),
            place: None,
        };
        self.scheduler().queue(job);
        answer
    }

    fn scheduler(&mut self) -> &mut Scheduler<Shared<FakeEngine>, Shared<FakeLookup>> {
        self.scheduler.as_mut().expect("not stopped")
    }

    pub fn tick(&mut self) {
        self.scheduler().tick();
    }

    /// Ticks as long as there is anything to do.
    pub fn run(&mut self) {
        self.run_until(|_| false);
    }

    pub fn run_until(&mut self, stop: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if stop(self) || !self.scheduler().has_work() {
                return;
            }
            self.tick();
        }
        panic!("it does not come to an end");
    }

    pub fn engine(&self) -> Ref<'_, FakeEngine> {
        self.engine.borrow()
    }

    pub fn engine_mut(&self) -> RefMut<'_, FakeEngine> {
        self.engine.borrow_mut()
    }

    pub fn lookup(&self) -> Ref<'_, FakeLookup> {
        self.lookup.borrow()
    }

    /// Answers the sequence that was admitted as number `ticket`.
    pub fn answer(&mut self, ticket: Ticket) {
        let chunks = self.take(ticket);
        let mut found = |chunk| {
            self.answered.push(Arc::default());
            Found { chunk, text: String::new(), encoded: self.answered.last().cloned(), shown: Vec::new(), error: None }
        };
        let answer = Answer { ticket, found: Ok(chunks.into_iter().map(&mut found).collect()), version: 1 };
        self.scheduler().answer(answer);
    }

    /// Chunks of a slot, each with the number of its neighbours among the answered ones.
    pub fn attended(&self, slot: usize) -> Vec<(usize, Option<usize>)> {
        let number = |one: &Arc<_>| self.answered.iter().position(|answered| Arc::ptr_eq(answered, one));
        let of_slot = self.engine().attended.clone().into_iter().filter(|(of, ..)| *of == slot);
        of_slot.map(|(_, chunk, neighbours)| (chunk, neighbours.as_ref().and_then(number))).collect()
    }

    pub fn answer_all(&mut self) {
        let open = self.lookup().open();
        for (ticket, _) in open {
            self.answer(ticket);
        }
    }

    pub fn fail(&mut self, ticket: Ticket, error: GenerateError) {
        let queries = self.take(ticket).into_iter().map(|chunk| (chunk, format!("chunk {chunk}"))).collect();
        self.scheduler().answer(Answer { ticket, found: Err(Failed::new(error, queries)), version: 0 });
    }

    fn take(&mut self, ticket: Ticket) -> Vec<usize> {
        let mut lookup = self.lookup.borrow_mut();
        let at = lookup.waiting.iter().position(|(waiting, _)| *waiting == ticket).expect("it waits");
        lookup.waiting.remove(at).1
    }

    pub fn stop(&mut self) {
        self.scheduler.take().expect("not stopped yet").stop();
    }
}
