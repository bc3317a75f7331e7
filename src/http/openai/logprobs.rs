//! Log-probabilities in the form of OpenAI's completions: four lists side by side.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use utoipa::ToSchema;

use crate::generate::TokenLogProbs;
use crate::text::{TokenId, Tokenizer, Utf8Stream};

/// Log-probabilities of tokens, one of each list for each token.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct TextLogprobs {
    /// The tokens' texts; one that is part of a character is written as its bytes, `bytes:\xe5\xad`.
    #[schema(example = json!([" 20", "21"]))]
    tokens: Vec<String>,
    /// Natural-log probabilities before temperature and filters; null for the first token of an echoed prompt, which nothing predicts.
    #[schema(example = json!([-0.29, -0.31]))]
    token_logprobs: Vec<Option<f32>>,
    /// The most probable tokens at each place, as many as `logprobs` asked for, and the token itself. Of those with the same text the most
    /// probable is shown.
    #[schema(example = json!([{" 20": -0.29}, {"21": -0.31, "20": -2.1}]))]
    top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Characters before each token, from the beginning of the prompt, whether it is echoed or not.
    #[schema(example = json!([29, 32]))]
    text_offset: Vec<usize>,
}

impl TextLogprobs {
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn push(&mut self, offset: usize, token: TokenLogProbs, tokenizer: &Tokenizer) {
        let text = written(token.token_id, tokenizer);
        let top = token.log_prob.map(|log_prob| {
            let mut top = BTreeMap::new();
            // The greatest come first.
            for other in token.top {
                top.entry(written(other.token_id, tokenizer)).or_insert(other.log_prob);
            }
            top.entry(text.clone()).or_insert(log_prob);
            top
        });
        self.tokens.push(text);
        self.token_logprobs.push(token.log_prob);
        self.top_logprobs.push(top);
        self.text_offset.push(offset);
    }
}

/// Of one choice, as its tokens come.
///
/// A token comes before its text is certain, which may still become a stop text. So it is held back until the text before its end is there:
/// the lists of an answer and of a chunk are about the text beside them.
#[derive(Clone)]
pub struct TokenTexts {
    utf8: Utf8Stream,
    /// Characters before the next token.
    offset: usize,
    /// Tokens of an echoed prompt that are still to come.
    prompt_left: usize,
    waiting: VecDeque<(usize, TokenLogProbs)>,
}

impl TokenTexts {
    /// Of a choice whose prompt is echoed in so many tokens.
    pub fn with_prompt(tokens: usize) -> Self {
        Self { utf8: Utf8Stream::default(), offset: 0, prompt_left: tokens, waiting: VecDeque::new() }
    }

    /// Of a choice after a prompt of so many characters.
    pub fn after(characters: usize) -> Self {
        Self { offset: characters, ..Self::with_prompt(0) }
    }

    pub fn push(&mut self, token: TokenLogProbs, tokenizer: &Tokenizer) {
        let bytes = tokenizer.bytes(token.token_id);
        self.waiting.push_back((self.offset, token));
        self.offset += self.utf8.push(bytes).chars().count();
        if self.prompt_left == 1 {
            // What the prompt leaves unfinished is not gone on with.
            self.offset += self.utf8.finish().chars().count();
        }
        self.prompt_left = self.prompt_left.saturating_sub(1);
    }

    /// The tokens whose text begins before the character `until`.
    pub fn take(&mut self, until: usize, tokenizer: &Tokenizer) -> TextLogprobs {
        let mut taken = TextLogprobs::default();
        while self.waiting.front().is_some_and(|&(offset, _)| offset < until) {
            let (offset, token) = self.waiting.pop_front().expect("there is a first");
            taken.push(offset, token, tokenizer);
        }
        taken
    }
}

/// A token as OpenAI writes it. Two parts of characters are told apart, which as U+FFFD they would not be.
fn written(token: TokenId, tokenizer: &Tokenizer) -> String {
    let bytes = tokenizer.bytes(token);
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |text, byte| text + &format!("\\x{byte:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::generate::TokenLogProb;

    fn tokenizer() -> Tokenizer {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/retro-nano/tokenizer.json");
        Tokenizer::load(&path).unwrap()
    }

    fn token(token_id: TokenId, top: &[TokenId]) -> TokenLogProbs {
        let top = top.iter().map(|&token_id| TokenLogProb { token: String::new(), token_id, log_prob: -0.5 }).collect();
        TokenLogProbs { token: String::new(), token_id, log_prob: Some(-1.0), top }
    }

    #[test]
    fn offsets_count_characters_and_parts_of_one_share_its_place() {
        let tokenizer = tokenizer();
        let text = "é\u{1f600}z";
        let mut texts = TokenTexts::after(7);
        let ids = tokenizer.encode(text);
        ids.iter().for_each(|&id| texts.push(token(id, &[]), &tokenizer));
        let taken = texts.take(usize::MAX, &tokenizer);
        let mut bytes = 0;
        for (at, &id) in ids.iter().enumerate() {
            let whole = String::from_utf8_lossy(&text.as_bytes()[..bytes]);
            let complete = whole.trim_end_matches('\u{FFFD}').chars().count();
            assert_eq!(taken.text_offset[at], 7 + complete, "token {at}");
            bytes += tokenizer.bytes(id).len();
        }
        assert_eq!(taken.token_logprobs, vec![Some(-1.0); ids.len()]);
    }

    #[test]
    fn tokens_wait_for_their_text() {
        let tokenizer = tokenizer();
        let letter = |letter: &str| tokenizer.encode(letter)[0];
        let mut texts = TokenTexts::after(0);
        ["a", "b", "c"].into_iter().for_each(|text| texts.push(token(letter(text), &[]), &tokenizer));
        assert_eq!(texts.take(0, &tokenizer), TextLogprobs::default());
        assert_eq!(texts.take(2, &tokenizer).tokens, ["a", "b"]);
        assert_eq!(texts.take(2, &tokenizer).tokens, [""; 0]);
        assert_eq!(texts.take(3, &tokenizer).text_offset, [2]);
    }

    #[test]
    fn the_token_itself_is_among_the_top_ones() {
        let tokenizer = tokenizer();
        let [a, b] = ["a", "b"].map(|text| tokenizer.encode(text)[0]);
        let mut texts = TokenTexts::with_prompt(1);
        texts.push(TokenLogProbs { log_prob: None, ..token(a, &[]) }, &tokenizer);
        texts.push(token(a, &[b]), &tokenizer);
        texts.push(token(b, &[b]), &tokenizer);
        let taken = texts.take(usize::MAX, &tokenizer);
        let top = |pairs: &[(&str, f32)]| Some(pairs.iter().map(|&(text, log_prob)| (text.to_owned(), log_prob)).collect());
        assert_eq!(taken.top_logprobs, [None, top(&[("a", -1.0), ("b", -0.5)]), top(&[("b", -0.5)])]);
        assert_eq!(taken.token_logprobs[0], None);
    }

    #[test]
    fn part_of_a_character_is_written_as_bytes() {
        let tokenizer = tokenizer();
        let part = (0..tokenizer.vocabulary() as TokenId).find(|&id| tokenizer.bytes(id) == [0xE5]).unwrap();
        assert_eq!(written(part, &tokenizer), "bytes:\\xe5");
    }
}
