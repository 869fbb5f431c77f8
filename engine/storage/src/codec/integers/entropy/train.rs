//! Models for many columns at once: one for each order of differences, and where columns of one
//! order differ in kind, up to four, found by sorting the columns to the model that suits them.

use super::bins::{Bins, Finder};
use super::model::Model;
use super::{COUNT_MIN, Residuals};
use crate::codec::bytes::Word;
use crate::codec::integers::delta::Order;

/// Words that a model is made from at most.
const SAMPLE_MAX: usize = 1 << 15;
/// Fewer columns than this are of one kind.
const COLUMNS_SPLIT_MIN: usize = 4;
/// How often the columns of one order are split at most: four kinds.
const SPLITS_MAX: u32 = 2;
/// What one more model takes, and what it is to gain, bits.
const SPLIT_GAIN_MIN: usize = 2048;

/// The models that suit `columns`, few and good for most of them.
pub(in crate::codec) fn train<T: Word, C: AsRef<[T]>>(columns: &[C]) -> Vec<Model> {
    let mut models = Vec::new();
    let long = columns
        .iter()
        .map(AsRef::as_ref)
        .filter(|words| is_spread(words));
    let residuals: Vec<Residuals> = long.map(Residuals::smallest).collect();
    for order in [Order::Zero, Order::One, Order::Two] {
        let own = residuals.iter().filter(|own| own.order == order);
        split(&own.collect::<Vec<_>>(), SPLITS_MAX, &mut models);
    }
    models
}

/// Whether entropy coding is worth a thought: not for few words, one word, or an even step.
fn is_spread<T: Word>(words: &[T]) -> bool {
    let steps = words.iter().zip(words.iter().skip(1));
    let mut steps = steps.map(|(before, after)| after.to_word().wrapping_sub(before.to_word()));
    let first = steps.next();
    words.len() >= COUNT_MIN && steps.any(|step| Some(step) != first)
}

/// One model for `columns`, all of one order, or two or more where that takes much less.
fn split(columns: &[&Residuals], splits: u32, models: &mut Vec<Model>) {
    if columns.is_empty() {
        return;
    }
    let one = model_of(columns);
    if columns.len() < COLUMNS_SPLIT_MIN || splits == 0 {
        return models.push(one);
    }
    let costs = costs_of(&one, columns);
    let whole: usize = costs.iter().sum();
    let (left, right) = halves(columns, &costs);
    if left.is_empty() || right.is_empty() {
        return models.push(one);
    }
    let pair = [model_of(&left), model_of(&right)];
    let costs = pair.each_ref().map(|model| costs_of(model, columns));
    let parted: usize = costs[0].iter().zip(&costs[1]).map(|(a, b)| a.min(b)).sum();
    if parted + SPLIT_GAIN_MIN + whole / 128 > whole {
        return models.push(one);
    }
    let suits_left = |at: &usize| costs[0][*at] <= costs[1][*at];
    let (left, right): (Vec<usize>, Vec<usize>) = (0..columns.len()).partition(suits_left);
    for half in [left, right] {
        let half: Vec<&Residuals> = half.into_iter().map(|at| columns[at]).collect();
        split(&half, splits - 1, models);
    }
}

/// The columns that take few bits a word, and those that take many.
fn halves<'own>(
    columns: &[&'own Residuals],
    costs: &[usize],
) -> (Vec<&'own Residuals>, Vec<&'own Residuals>) {
    let each = |at: usize| costs[at] * 1024 / columns[at].words.len();
    let mean = (0..columns.len()).map(each).sum::<usize>() / columns.len();
    let (left, right): (Vec<usize>, Vec<usize>) =
        (0..columns.len()).partition(|at| each(*at) <= mean);
    let columns_at = |places: Vec<usize>| places.into_iter().map(|at| columns[at]).collect();
    (columns_at(left), columns_at(right))
}

fn model_of(columns: &[&Residuals]) -> Model {
    let total: usize = columns.iter().map(|own| own.words.len()).sum();
    let step = total.div_ceil(SAMPLE_MAX).max(1);
    let words = columns.iter().flat_map(|own| &own.words);
    let sample: Vec<u64> = words.copied().step_by(step).collect();
    Model::new(
        columns[0].order,
        Bins::fit(&sample, super::ans::LOG_MAX, true),
    )
}

fn costs_of(model: &Model, columns: &[&Residuals]) -> Vec<usize> {
    let finder = Finder::new(&model.bins);
    let cost = |own: &&Residuals| {
        model
            .cost_bits(&finder, &own.words)
            .unwrap_or(usize::MAX / 64)
    };
    columns.iter().map(cost).collect()
}
