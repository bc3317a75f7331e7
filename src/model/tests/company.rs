//! Sequences in one batch: each gets the logits that it would get alone.

use super::{Driver, distance, model, neighbour, repeating, tokens, whole};
use crate::model::{Logits, NeighbourTokens, Slot};
use crate::text::{Grid, TokenId};

struct Member {
    tokens: Vec<TokenId>,
    prompt: usize,
    grid: Grid,
    /// By number of chunk.
    neighbours: Vec<Vec<NeighbourTokens>>,
}

/// Sequences of different lengths, on different grids, with 0 to 3 neighbours.
fn company(count: usize) -> Vec<Member> {
    (0..count)
        .map(|number| {
            let prompt = [7, 64, 130, 1, 90, 200, 65, 33][number % 8];
            let tokens = tokens(prompt + 70 + 5 * number, number);
            let grid = if number % 3 == 0 { Grid::prompt_start() } else { Grid::prompt_end(prompt) };
            let grid = grid.refreshed(prompt, [64, 16, 64, 24][number % 4]);
            let of_chunk = |chunk: usize| match number % 4 {
                0 => vec![neighbour(chunk), repeating(&tokens, grid, chunk, 9)],
                1 => vec![repeating(&tokens, grid, chunk, 3)],
                2 => Vec::new(),
                _ => vec![neighbour(chunk), neighbour(chunk + 1), repeating(&tokens, grid, chunk, 5)],
            };
            let neighbours = (0..grid.complete_chunks(tokens.len())).map(of_chunk).collect();
            Member { tokens, prompt, grid, neighbours }
        })
        .collect()
}

/// A member that is being decoded.
struct Running {
    number: usize,
    slot: Slot,
    /// Its next token.
    at: usize,
}

/// Decodes a company together: one joins every other step, and each leaves when it is done. For each the logits of its tokens after the
/// prompt.
fn together(driver: &mut Driver, company: &[Member]) -> Vec<Vec<Vec<f32>>> {
    let mut logits: Vec<Vec<Vec<f32>>> = vec![Vec::new(); company.len()];
    let mut running: Vec<Running> = Vec::new();
    let mut waiting = 0..company.len();
    for round in 0.. {
        if round % 2 == 0
            && running.len() < driver.model.slots()
            && let Some(number) = waiting.next()
        {
            let member = &company[number];
            let slot = driver.open(member.grid);
            driver.extend(slot, &member.tokens[..member.prompt], &member.neighbours);
            running.push(Running { number, slot, at: member.prompt });
        }
        if running.is_empty() {
            break;
        }
        let batch: Vec<(Slot, TokenId)> = running.iter().map(|one| (one.slot, company[one.number].tokens[one.at])).collect();
        let complete: Vec<usize> = running.iter().map(|one| company[one.number].grid.complete_chunks(one.at)).collect();
        let neighbours: Vec<&[Vec<NeighbourTokens>]> =
            running.iter().map(|one| company[one.number].neighbours.as_slice()).collect();
        for (one, row) in running.iter_mut().zip(driver.step(&batch, &complete, &neighbours)) {
            logits[one.number].push(row);
            one.at += 1;
        }
        running.retain(|one| {
            let goes_on = one.at < company[one.number].tokens.len();
            if !goes_on {
                driver.model.close(one.slot).unwrap();
            }
            goes_on
        });
    }
    logits
}

#[test]
fn a_batch_gives_each_sequence_the_logits_of_a_full_recompute() {
    let mut driver = model("fp32");
    let vocabulary = driver.vocabulary();
    let company = company(10);
    let found = together(&mut driver, &company);
    for (number, (member, found)) in company.iter().zip(found).enumerate() {
        let expected = whole(&mut driver, &member.tokens, member.grid, &member.neighbours);
        assert_eq!(found.len(), member.tokens.len() - member.prompt);
        for (at, (row, expected)) in found.iter().zip(expected.chunks_exact(vocabulary).skip(member.prompt)).enumerate() {
            let distance = distance(row, expected);
            assert!(distance < 1e-4, "sequence {number}, token {at} after the prompt: {distance}");
        }
    }
}

#[test]
fn a_fork_goes_on_as_a_sequence_with_the_same_beginning() {
    for precision in ["fp32", "int8"] {
        let mut driver = model(precision);
        let (prompt, leaves) = (100, 40);
        let grid = Grid::prompt_end(prompt).refreshed(prompt, 24);
        let members: Vec<Member> = [5, 6]
            .map(|seed| {
                let tokens = [tokens(prompt, 3), tokens(80, seed)].concat();
                let of_chunk = |chunk| vec![repeating(&tokens, grid, chunk, chunk), neighbour(chunk)];
                let neighbours = (0..grid.complete_chunks(tokens.len())).map(of_chunk).collect();
                Member { tokens, prompt, grid, neighbours }
            })
            .into();
        let mut alone = together(&mut driver, &members[..1]);
        alone.extend(together(&mut driver, &members[1..]));

        let first = driver.open(grid);
        driver.extend(first, &members[0].tokens[..prompt], &members[0].neighbours);
        let mut running = vec![(0, first), (1, driver.model.fork(first).unwrap().unwrap())];
        assert_eq!(driver.model.free_slots(), driver.model.slots() - 2);
        for at in prompt..members[0].tokens.len() {
            // The fork's row moves, and it stays what it was.
            if at == prompt + leaves {
                driver.model.close(first).unwrap();
                running.remove(0);
            }
            let batch: Vec<(Slot, TokenId)> = running.iter().map(|&(number, slot)| (slot, members[number].tokens[at])).collect();
            let neighbours: Vec<&[Vec<NeighbourTokens>]> =
                running.iter().map(|&(number, _)| members[number].neighbours.as_slice()).collect();
            let found = driver.step(&batch, &vec![grid.complete_chunks(at); batch.len()], &neighbours);
            for (&(number, _), found) in running.iter().zip(found) {
                assert!(found == alone[number][at - prompt], "{precision}, sequence {number}, token {at}");
            }
        }
        while driver.model.free_slots() > 0 {
            driver.open(grid);
        }
        assert_eq!(driver.model.fork(running[0].1).unwrap(), None);
    }
}

#[test]
fn company_changes_no_bit() {
    for precision in ["fp32", "int8"] {
        let mut driver = model(precision);
        let company = company(10);
        let found = together(&mut driver, &company);
        for (number, found) in found.into_iter().enumerate() {
            let alone = together(&mut driver, &company[number..=number]).remove(0);
            let other = alone.iter().zip(&found).filter(|(a, b)| a != b).count();
            assert_eq!(other, 0, "{precision}, sequence {number}: tokens of {} with other logits", found.len());
        }
    }
}

#[test]
fn a_sequence_whose_next_chunk_needs_more_room_lets_others_have_a_little_more() {
    let one = |chunk| vec![neighbour(chunk)];
    let three = vec![neighbour(1), neighbour(2), neighbour(3)];
    let of_first = [one(0), three];
    let of_second = [vec![neighbour(4), neighbour(5)]];
    let (first, second) = (tokens(128, 0), tokens(64, 1));
    let finish = |driver: &mut Driver, slot| {
        let span = driver.model.finish(slot, Logits::All).unwrap().unwrap();
        driver.model.logits().take(span.len()).flatten().copied().collect::<Vec<f32>>()
    };
    let mut driver = model("fp32");
    let alone = {
        let slot = driver.open(Grid::prompt_start());
        driver.extend(slot, &first, &of_first)
    };
    // A fresh one, whose rows have room for nothing yet.
    let mut driver = model("fp32");
    let slot = driver.open(Grid::prompt_start());
    for slice in first.chunks(64) {
        let chunks = driver.model.extend(slot, slice).unwrap();
        driver.attend(slot, chunks, &of_first);
    }
    let mut logits = finish(&mut driver, slot);
    logits.extend(finish(&mut driver, slot));
    let other = driver.open(Grid::prompt_end(64));
    driver.extend(other, &second, &of_second);
    while logits.len() < alone.len() {
        logits.extend(finish(&mut driver, slot));
    }
    assert!(distance(&logits, &alone) < 1e-4);
}
