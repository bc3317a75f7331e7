use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::request::Sampling;
use crate::text::TokenId;

/// Candidates that are put in order at first.
const FEW: usize = 64;
/// Logits that are compared at a time.
const BLOCK: usize = 512;

/// Draws tokens from logits. The same seed, request and logits give the same tokens on every machine.
#[derive(Clone)]
pub(super) struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
    /// How often each token was drawn.
    drawn: HashMap<TokenId, u32>,
    /// Never drawn.
    forbidden: TokenId,
}

impl Sampler {
    pub fn new(sampling: Sampling, forbidden: TokenId) -> Self {
        let random = ChaCha8Rng::seed_from_u64(sampling.seed);
        Self { sampling, random, drawn: HashMap::new(), forbidden }
    }

    /// That of another choice of the same request: it draws as with a seed that is greater by `choice`.
    pub fn of_choice(&self, choice: u32) -> Self {
        let seed = self.sampling.seed.wrapping_add(u64::from(choice));
        Self::new(Sampling { seed, ..self.sampling.clone() }, self.forbidden)
    }

    /// The next token, from logits [V].
    pub fn sample(&mut self, logits: &[f32]) -> TokenId {
        let token = if self.sampling.temperature == 0.0 { self.greedy(logits) } else { self.draw(logits) };
        *self.drawn.entry(token).or_default() += 1;
        token
    }

    fn greedy(&self, logits: &[f32]) -> TokenId {
        if !self.sampling.penalises() {
            return most_probable(logits, self.forbidden);
        }
        let mut best = (0, f32::NEG_INFINITY);
        for (token, &logit) in (0..).zip(logits) {
            let logit = self.penalised(token, logit);
            if token != self.forbidden && logit > best.1 {
                best = (token, logit);
            }
        }
        best.0
    }

    fn draw(&mut self, logits: &[f32]) -> TokenId {
        let temperature = f64::from(self.sampling.temperature);
        let mut scaled: Vec<(TokenId, f64)> = (0..)
            .zip(logits)
            .filter(|&(token, _)| token != self.forbidden)
            .map(|(token, &logit)| (token, f64::from(self.penalised(token, logit)) / temperature))
            .collect();
        if (1..scaled.len()).contains(&self.sampling.top_k) {
            lead(&mut scaled, self.sampling.top_k);
            scaled.truncate(self.sampling.top_k);
        }
        let greatest = scaled.iter().fold(f64::NEG_INFINITY, |most, &(_, logit)| most.max(logit));
        let mut weights: Vec<(TokenId, f64)> =
            scaled.into_iter().map(|(token, logit)| (token, (logit - greatest).exp())).collect();
        let kept = self.kept(&mut weights);
        let total: f64 = weights[..kept].iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.random::<f64>() * total;
        for &(token, weight) in &weights[..kept] {
            left -= weight;
            if left < 0.0 {
                return token;
            }
        }
        weights[kept - 1].0
    }

    /// Puts the candidates (weights relative to the greatest) that `min_p` and `top_p` leave first; returns how many, at least one. Where
    /// they leave all, the order stays.
    fn kept(&self, weights: &mut [(TokenId, f64)]) -> usize {
        let (min_p, top_p) = (f64::from(self.sampling.min_p), f64::from(self.sampling.top_p));
        if min_p == 0.0 && top_p >= 1.0 {
            return weights.len();
        }
        let wanted = if top_p >= 1.0 { f64::INFINITY } else { top_p * weights.iter().map(|(_, weight)| weight).sum::<f64>() };
        // Most often few are left: so many are put in order at first, and four times as many where that was not enough.
        let mut ordered = FEW.min(weights.len());
        loop {
            lead(weights, ordered);
            let mut sum = 0.0;
            let beyond = weights[..ordered].iter().position(|&(_, weight)| {
                let left_out = weight < min_p || sum >= wanted;
                sum += weight;
                left_out
            });
            match beyond {
                Some(kept) => return kept.max(1),
                None if ordered == weights.len() => return ordered,
                None => ordered = (4 * ordered).min(weights.len()),
            }
        }
    }

    /// For a token that was drawn before, `repetition_penalty` divides positive logits and multiplies negative ones, as in CTRL (arXiv
    /// 1909.05858, section 4.1) and its usual form; then `frequency_penalty` is taken off for each time, and `presence_penalty` once.
    fn penalised(&self, token: TokenId, logit: f32) -> f32 {
        if !self.sampling.penalises() {
            return logit;
        }
        let Some(&times) = self.drawn.get(&token) else { return logit };
        let Sampling { repetition_penalty, frequency_penalty, presence_penalty, .. } = self.sampling;
        let repeated = if logit > 0.0 { logit / repetition_penalty } else { logit * repetition_penalty };
        repeated - frequency_penalty * times as f32 - presence_penalty
    }
}

/// The first token of the greatest logit: block by block, so that the compiler finds vector instructions and the logits are read once.
fn most_probable(logits: &[f32], forbidden: TokenId) -> TokenId {
    let mut best = (0, f32::NEG_INFINITY);
    for (number, block) in logits.chunks(BLOCK).enumerate() {
        let (lanes, rest) = block.as_chunks::<16>();
        let mut most = [f32::NEG_INFINITY; 16];
        for lane in lanes {
            most.iter_mut().zip(lane).for_each(|(most, &logit)| *most = if logit > *most { logit } else { *most });
        }
        if most.iter().chain(rest).any(|&logit| logit > best.1) {
            for (token, &logit) in (number * BLOCK..).zip(block) {
                if logit > best.1 && token != forbidden as usize {
                    best = (token as TokenId, logit);
                }
            }
        }
    }
    best.0
}

/// ln(sum(exp(logits))), without overflow.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - greatest).exp()).sum();
    f64::from(greatest) + sum.ln()
}

/// The `count` greatest logits with their tokens, greatest first.
pub(super) fn greatest(logits: &[f32], count: usize) -> Vec<(TokenId, f32)> {
    let mut all: Vec<(TokenId, f64)> = (0..).zip(logits.iter().map(|&logit| f64::from(logit))).collect();
    let count = count.min(all.len());
    lead(&mut all, count);
    all[..count].iter().map(|&(token, logit)| (token, logit as f32)).collect()
}

/// Puts the `count` greatest first, in order; of equal ones the lower token.
fn lead(candidates: &mut [(TokenId, f64)], count: usize) {
    let order = |a: &(TokenId, f64), b: &(TokenId, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count == 0 {
        return;
    }
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count - 1, order);
    }
    candidates[..count].sort_unstable_by(order);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(temperature: f32) -> Sampling {
        Sampling {
            temperature,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: 7,
        }
    }

    fn counts(sampling: Sampling, logits: &[f32], draws: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(sampling, 0);
        let mut counts = vec![0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits) as usize] += 1;
        }
        counts
    }

    #[test]
    fn temperature_0_takes_the_greatest_but_never_padding() {
        let mut sampler = Sampler::new(sampling(0.0), 0);
        assert_eq!(sampler.sample(&[9.0, 1.0, 3.0, 3.0]), 2);
    }

    #[test]
    fn draws_follow_the_distribution() {
        // Probabilities 1/2, 1/4, 1/4 after softmax.
        let logits = [5.0, 2f32.ln(), 0.0, 0.0];
        let counts = counts(sampling(1.0), &logits, 40_000);
        assert_eq!(counts[0], 0);
        for (token, share) in [(1, 0.5), (2, 0.25), (3, 0.25)] {
            let found = counts[token] as f64 / 40_000.0;
            assert!((found - share).abs() < 0.01, "token {token}: {found}");
        }
    }

    #[test]
    fn filters_leave_what_they_say() {
        let logits = [0.0, 8f32.ln(), 4f32.ln(), 2f32.ln(), 2f32.ln()];
        let only = |sampling: Sampling| counts(sampling, &logits, 4000).iter().filter(|&&count| count > 0).count();
        assert_eq!(only(Sampling { top_k: 2, ..sampling(1.0) }), 2);
        assert_eq!(only(Sampling { top_p: 0.5, ..sampling(1.0) }), 1);
        assert_eq!(only(Sampling { top_p: 0.6, ..sampling(1.0) }), 2);
        assert_eq!(only(Sampling { min_p: 0.3, ..sampling(1.0) }), 2);
        assert_eq!(only(sampling(1.0)), 4);
    }

    #[test]
    fn of_many_candidates_the_filters_leave_what_a_whole_order_says() {
        let weights: Vec<(TokenId, f64)> = (0..3000).map(|i| (i, 0.999f64.powi((i as i32 * 1237) % 3000))).collect();
        let mut ordered = weights.clone();
        ordered.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        for (top_p, min_p) in [(0.01, 0.0), (0.5, 0.0), (0.95, 0.0), (0.5, 0.7), (1.0, 0.2), (1.0, 1.0)] {
            let sampler = Sampler::new(Sampling { top_p, min_p, ..sampling(1.0) }, 0);
            let (mut found, mut sum) = (weights.clone(), 0.0);
            let kept = sampler.kept(&mut found);
            let expected = ordered.iter().take_while(|&&(_, weight)| {
                let more = weight >= f64::from(min_p) && (top_p >= 1.0 || sum < f64::from(top_p) * total);
                sum += weight;
                more
            });
            assert_eq!(found[..kept], expected.copied().collect::<Vec<_>>(), "top_p {top_p}, min_p {min_p}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_tokens_again() {
        let logits: Vec<f32> = (0..100).map(|i| (i as f32 * 0.7).sin()).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(Sampling { seed, ..sampling(1.0) }, 0);
            (0..50).map(|_| sampler.sample(&logits)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn the_penalty_keeps_a_token_from_coming_again() {
        let mut sampler = Sampler::new(Sampling { repetition_penalty: 2.0, ..sampling(0.0) }, 0);
        assert_eq!(sampler.sample(&[0.0, 3.0, 2.0]), 1);
        assert_eq!(sampler.sample(&[0.0, 3.0, 2.0]), 2);
    }

    #[test]
    fn a_frequency_penalty_counts_and_a_presence_penalty_does_not() {
        let greedy = |sampling: Sampling| {
            let mut sampler = Sampler::new(sampling, 0);
            (0..6).map(|_| sampler.sample(&[0.0, 3.0, 2.0, 0.5])).collect::<Vec<_>>()
        };
        // The logits fall 3, 1.5, 0 for the first token, 2, 0.5, -1 for the second; of equal ones the lower token is taken.
        assert_eq!(greedy(Sampling { frequency_penalty: 1.5, ..sampling(0.0) }), [1, 2, 1, 2, 3, 1]);
        assert_eq!(greedy(Sampling { presence_penalty: 1.5, ..sampling(0.0) }), [1, 2, 1, 1, 1, 1]);
        assert_eq!(greedy(Sampling { frequency_penalty: -1.0, presence_penalty: -1.0, ..sampling(0.0) }), [1; 6]);
        assert_eq!(greedy(sampling(0.0)), [1; 6]);
    }

    #[test]
    fn penalties_shift_the_distribution_that_is_drawn_from() {
        // A token that was drawn before, however often, is e^-2 times as probable as its equal that was not.
        let mut first = 0;
        for seed in 0..4000 {
            let mut sampler = Sampler::new(Sampling { presence_penalty: 2.0, seed, ..sampling(1.0) }, 0);
            sampler.drawn.insert(1, 5);
            first += usize::from(sampler.sample(&[0.0, 0.0, 0.0]) == 1);
        }
        let expected = (-2f64).exp() / (1.0 + (-2f64).exp());
        assert!((first as f64 / 4000.0 - expected).abs() < 0.03, "{first}");
    }

    #[test]
    fn log_probabilities_are_of_the_softmax() {
        let logits = [1000.0, 1001.0, 999.0];
        let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - log_sum_exp(&logits)).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-9);
        assert_eq!(greatest(&logits, 2), vec![(1, 1001.0), (0, 1000.0)]);
        assert_eq!(greatest(&logits, 9).len(), 3);
    }
}
