//! A completion with retrieval, the same without beside it, and what retrieval did for each token.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

use super::GenerateError;
use super::events::{Done, Event, EventStream, FinishedChoice, TokenEvent};
use super::generator::Generator;
use super::request::{NeighbourSource, ValidCompletion, ValidRetrieval};
use crate::text::TokenId;

/// A token of the completion with retrieval.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenGain {
    /// The token's text; U+FFFD where it is part of a character.
    #[schema(example = " 2021")]
    pub text: String,
    /// Natural logarithm of its probability with retrieval, less that without it, both after the same tokens: above 0 retrieval helped.
    #[schema(example = 1.75)]
    pub gain: f32,
}

/// The gains of one choice.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Gains {
    pub choice: u32,
    /// One for each token that was made, those of a stop text too.
    pub tokens: Vec<TokenGain>,
}

#[derive(Clone, Debug)]
pub enum Compared {
    /// Of the completion with retrieval. `Done` comes last of all.
    With(Event),
    /// Of the one without.
    Without(TokenEvent),
    /// How the one without ended.
    WithoutEnded(Vec<FinishedChoice>),
    Gains(Gains),
}

/// Events of two completions and their comparison in order. Dropping it cancels them.
pub struct Comparison {
    generator: Generator,
    prompt: Vec<TokenId>,
    echo: bool,
    wants_logprobs: bool,
    with: EventStream,
    without: EventStream,
    /// The tokens with retrieval and their log-probabilities, by choice.
    made: Vec<Vec<Made>>,
    with_done: Option<Done>,
    without_done: bool,
    /// Choices whose gains are not computed yet.
    waiting: VecDeque<u32>,
}

#[derive(Clone, Debug)]
struct Made {
    token: TokenId,
    text: String,
    log_prob: f32,
}

impl ValidCompletion {
    /// The same without retrieval.
    fn without_retrieval(&self) -> Self {
        let retrieval = ValidRetrieval { source: NeighbourSource::Off, ..self.retrieval.clone() };
        Self { retrieval, logprobs: None, ..self.clone() }
    }
}

impl Generator {
    /// Queues a completion and the same without retrieval.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn compare(&self, request: ValidCompletion) -> Result<Comparison, GenerateError> {
        let (prompt, echo, choices) = (request.prompt.clone(), request.echo.is_some(), request.choices);
        let wants_logprobs = request.logprobs.is_some();
        let without = request.without_retrieval();
        let with = ValidCompletion { logprobs: request.logprobs.or(Some(0)), ..request };
        Ok(Comparison {
            with: self.submit(with)?,
            without: self.submit(without)?,
            generator: self.clone(),
            prompt,
            echo,
            wants_logprobs,
            made: vec![Vec::new(); choices],
            with_done: None,
            without_done: false,
            waiting: (0..choices as u32).collect(),
        })
    }
}

impl Comparison {
    /// The next event; none after `Done` and after an error.
    pub async fn next(&mut self) -> Option<Result<Compared, GenerateError>> {
        loop {
            let (with_goes_on, without_goes_on) = (self.with_done.is_none(), !self.without_done);
            if !with_goes_on && !without_goes_on {
                return match self.waiting.pop_front() {
                    Some(choice) => Some(self.gains(choice).await.map(Compared::Gains)),
                    None => self.with_done.take().map(|done| Ok(Compared::With(Event::Done(done)))),
                };
            }
            let event = tokio::select! {
                event = self.with.next(), if with_goes_on => match event?  {
                    Ok(event) => self.take(event).map(Compared::With),
                    Err(error) => return Some(Err(error)),
                },
                event = self.without.next(), if without_goes_on => match event? {
                    Ok(Event::Token(token)) => Some(Compared::Without(token)),
                    Ok(Event::Done(done)) => {
                        self.without_done = true;
                        Some(Compared::WithoutEnded(done.choices))
                    }
                    // There is none without retrieval.
                    Ok(Event::Retrieval(_)) => None,
                    Err(error) => return Some(Err(error)),
                },
            };
            if event.is_some() {
                return event.map(Ok);
            }
        }
    }

    /// Notes an event of the completion with retrieval; gives what is to be shown of it.
    fn take(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Token(mut token) => {
                let made = token.logprobs.iter().map(|one| Made {
                    token: one.token_id,
                    text: one.token.clone(),
                    log_prob: one.log_prob.unwrap_or(0.0),
                });
                self.made[token.choice as usize].extend(made);
                if !self.wants_logprobs {
                    token.logprobs = None;
                }
                let shows = !token.text.is_empty() || token.logprobs.is_some();
                shows.then_some(Event::Token(token))
            }
            Event::Done(done) => {
                self.with_done = Some(done);
                None
            }
            other @ Event::Retrieval(_) => Some(other),
        }
    }

    async fn gains(&mut self, choice: u32) -> Result<Gains, GenerateError> {
        let mut made = std::mem::take(&mut self.made[choice as usize]);
        if self.echo {
            // Those of the prompt, which come with the first choice's as with all others'.
            made.drain(..self.prompt.len().min(made.len()));
        }
        if made.is_empty() {
            return Ok(Gains { choice, tokens: Vec::new() });
        }
        let tokens = self.prompt.iter().copied().chain(made.iter().map(|made| made.token)).collect();
        let without = self.generator.score_after(tokens, self.prompt.len()).await?;
        let gain = |(made, without): (Made, f32)| TokenGain { text: made.text, gain: made.log_prob - without };
        Ok(Gains { choice, tokens: made.into_iter().zip(without).map(gain).collect() })
    }
}
