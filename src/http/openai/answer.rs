//! A whole completion in OpenAI's form.

use serde::Serialize;
use utoipa::ToSchema;

use super::logprobs::{TextLogprobs, TokenTexts};
use super::request::Shape;
use crate::generate::{ChunkRetrieval, CompletedChoice, Completion, FinishReason, RetrievalSummary, Usage, ValidCompletion};
use crate::http::complete::RetrievalReport;
use crate::text::Tokenizer;

/// What an answer, and each chunk of a stream, says of itself.
#[derive(Clone, Serialize, ToSchema)]
pub struct Head {
    #[schema(example = "cmpl-0198c0f2a7e07d3c8f0d1c2b3a495867")]
    id: String,
    #[schema(value_type = String, example = "text_completion")]
    object: &'static str,
    /// Seconds since 1970.
    #[schema(example = 1_790_000_000)]
    created: i64,
    /// The model's name.
    #[schema(example = "retro-nano")]
    model: String,
}

#[derive(Serialize, ToSchema)]
pub struct TextCompletion {
    #[serde(flatten)]
    head: Head,
    /// By `index`: `n` for each prompt, in the order of the prompts; those that `best_of` picks, the best first.
    choices: Vec<TextChoice>,
    /// Of all prompts and all that was made for them, candidates that `best_of` did not pick included.
    usage: Usage,
    /// Which neighbours the model read; the `choice` of each chunk is an `index`. OpenAI has no such field.
    retrieval: RetrievalReport,
}

#[derive(Serialize, ToSchema)]
pub struct TextChoice {
    pub index: usize,
    /// The completion, after its prompt where the request asked for that.
    #[schema(example = " 2021")]
    pub text: String,
    /// Where the request asked for them.
    pub logprobs: Option<TextLogprobs>,
    /// `stop` for a stop text or the model's own end, `length` for `max_tokens` or the end of the context; null in a stream until then.
    pub finish_reason: Option<FinishReason>,
}

/// What is to be known of a prompt while its completion runs.
pub struct Prompt {
    tokens: usize,
    characters: usize,
    /// Of its own, whose neighbours all choices read.
    chunks: usize,
}

impl Head {
    pub fn of(model: &str) -> Self {
        Self {
            id: format!("cmpl-{}", uuid::Uuid::now_v7().simple()),
            object: "text_completion",
            created: jiff::Timestamp::now().as_second(),
            model: model.to_owned(),
        }
    }
}

impl Prompt {
    pub fn of(completion: &ValidCompletion, tokenizer: &Tokenizer) -> Self {
        let prompt = completion.prompt();
        Self { tokens: prompt.len(), characters: tokenizer.decode(prompt).chars().count(), chunks: completion.prompt_chunks() }
    }

    /// Characters before the text of a choice.
    pub fn before(&self, shape: Shape) -> usize {
        if shape.echo { 0 } else { self.characters }
    }

    pub fn token_texts(&self, shape: Shape) -> TokenTexts {
        if shape.echo { TokenTexts::with_prompt(self.tokens) } else { TokenTexts::after(self.characters) }
    }

    /// The candidates that become choices, by number.
    fn picked(&self, choices: &[CompletedChoice], shape: Shape) -> Vec<usize> {
        let mut candidates: Vec<usize> = (0..choices.len()).collect();
        if shape.picks {
            let echoed = if shape.echo { self.tokens } else { 0 };
            let means: Vec<f64> = choices.iter().map(|choice| mean_log_prob(choice, echoed)).collect();
            candidates.sort_by(|&a, &b| means[b].total_cmp(&means[a]));
            candidates.truncate(shape.n);
        }
        candidates
    }
}

/// Of the tokens after the `echoed` ones. One that ended at once says nothing, and anything else is better.
fn mean_log_prob(choice: &CompletedChoice, echoed: usize) -> f64 {
    let made = choice.logprobs.get(echoed..).unwrap_or_default();
    if made.is_empty() {
        return f64::NEG_INFINITY;
    }
    made.iter().filter_map(|token| token.log_prob).map(f64::from).sum::<f64>() / made.len() as f64
}

impl TextCompletion {
    /// `completions` are those of `prompts`, at least one.
    pub fn of(head: Head, prompts: &[Prompt], completions: Vec<Completion>, shape: Shape, tokenizer: &Tokenizer) -> Self {
        let (mut choices, mut chunks, mut usage) = (Vec::new(), Vec::new(), Usage::default());
        let mut summary: Option<RetrievalSummary> = None;
        for (prompt, mut completion) in prompts.iter().zip(completions) {
            let first = choices.len();
            let picked = prompt.picked(&completion.choices, shape);
            for &candidate in &picked {
                let said = std::mem::take(&mut completion.choices[candidate]);
                let finish_reason = completion.done.choices[candidate].finish_reason;
                let logprobs = shape.logprobs.then(|| prompt.logprobs(&said, finish_reason, shape, tokenizer));
                choices.push(TextChoice { index: choices.len(), text: said.text, logprobs, finish_reason: Some(finish_reason) });
            }
            let shown = completion.chunks.into_iter().filter_map(|chunk| {
                let own = || picked.iter().position(|&candidate| candidate == chunk.choice as usize);
                let place = if (chunk.chunk as usize) < prompt.chunks { Some(0) } else { own() };
                place.map(|place| ChunkRetrieval { choice: (first + place) as u32, ..chunk })
            });
            chunks.extend(shown);
            add(&mut usage, completion.done.usage);
            summary = Some(match summary {
                // The prompts of a request are looked up alike.
                Some(so_far) => so_far.with(completion.done.retrieval),
                None => completion.done.retrieval,
            });
        }
        chunks.sort_by_key(|chunk: &ChunkRetrieval| chunk.choice);
        let summary = summary.expect("there is a prompt");
        Self { head, choices, usage, retrieval: RetrievalReport { summary, chunks } }
    }
}

impl Prompt {
    fn logprobs(&self, said: &CompletedChoice, finish_reason: FinishReason, shape: Shape, tokenizer: &Tokenizer) -> TextLogprobs {
        let mut texts = self.token_texts(shape);
        said.logprobs.iter().for_each(|token| texts.push(token.clone(), tokenizer));
        texts.take(end(self.before(shape) + said.text.chars().count(), finish_reason), tokenizer)
    }
}

/// The place up to which tokens are shown of a text that ends after so many characters: those of a stop text are not.
pub fn end(characters: usize, finish_reason: FinishReason) -> usize {
    match finish_reason {
        FinishReason::Stop => characters,
        FinishReason::Length => usize::MAX,
    }
}

pub fn add(usage: &mut Usage, more: Usage) {
    usage.prompt_tokens += more.prompt_tokens;
    usage.completion_tokens += more.completion_tokens;
    usage.total_tokens += more.total_tokens;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::TokenLogProbs;

    fn choice(log_probs: &[f32]) -> CompletedChoice {
        let token =
            |&log_prob: &f32| TokenLogProbs { token: String::new(), token_id: 300, log_prob: Some(log_prob), top: Vec::new() };
        CompletedChoice { text: String::new(), logprobs: log_probs.iter().map(token).collect() }
    }

    #[test]
    fn the_best_have_the_greatest_mean_whatever_their_length_and_their_prompt() {
        let prompt = Prompt { tokens: 1, characters: 1, chunks: 0 };
        let shape = Shape { n: 3, picks: true, logprobs: false, echo: false, include_usage: false };
        let choices = [choice(&[]), choice(&[-2.0]), choice(&[-1.0, -1.0, -1.0]), choice(&[-2.0]), choice(&[-3.0])];
        assert_eq!(prompt.picked(&choices, shape), [2, 1, 3]);
        assert_eq!(prompt.picked(&choices[..3], Shape { picks: false, ..shape }), [0, 1, 2]);
        let echoed = [choice(&[-9.0, -1.0]), choice(&[0.0, -2.0])];
        assert_eq!(prompt.picked(&echoed, Shape { n: 1, echo: true, ..shape }), [0]);
    }
}
