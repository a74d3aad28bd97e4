//! Numbers in the order of their names, which lie elsewhere.
//!
//! Blocks of numbers lie one behind the other; a name is looked for among the blocks' first names
//! and then within one block, each time by halves. What comes in order fills blocks to the brim.
//!
//! Invariants: no block is empty or larger than [`BLOCK_MAX`]; beside a block that is less than a
//! quarter full lies none that it would fit into; the names of what is in here do not change.

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Order {
    blocks: Vec<Vec<u32>>,
}

impl Order {
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Puts a number in whose name is not there.
    pub fn insert<'a>(&mut self, number: u32, name_of: impl Fn(u32) -> &'a [u8]) {
        let name = name_of(number);
        let (block, place) = self.find(name, &name_of);
        let Some(numbers) = self.blocks.get_mut(block) else {
            return self.blocks.push(vec![number]);
        };
        debug_assert!(numbers.get(place).is_none_or(|&next| name_of(next) != name));
        if numbers.len() < BLOCK_MAX {
            return numbers.insert(place, number);
        }
        if place < BLOCK_MAX {
            let mut upper = numbers.split_off(BLOCK_MAX / 2);
            match place.checked_sub(BLOCK_MAX / 2) {
                Some(place) => upper.insert(place, number),
                None => numbers.insert(place, number),
            }
            return self.blocks.insert(block + 1, upper);
        }
        match self.blocks.get_mut(block + 1).filter(|next| next.len() < BLOCK_MAX) {
            Some(next) => next.insert(0, number),
            None => self.blocks.insert(block + 1, vec![number]),
        }
    }

    /// Takes a number out that is there.
    pub fn remove<'a>(&mut self, number: u32, name_of: impl Fn(u32) -> &'a [u8]) {
        let (block, place) = self.find(name_of(number), &name_of);
        let numbers = &mut self.blocks[block];
        assert_eq!(numbers.get(place), Some(&number), "what is taken out was put in");
        numbers.remove(place);
        if numbers.is_empty() {
            self.blocks.remove(block);
        } else if numbers.len() < BLOCK_MAX / 4 {
            numbers.shrink_to(BLOCK_MAX / 4);
            self.join(block);
            self.join(block.saturating_sub(1));
        }
    }

    /// Numbers whose names come after `name`, in order.
    pub fn after<'s, 'a, F: Fn(u32) -> &'a [u8]>(
        &'s self,
        name: &[u8],
        name_of: F,
    ) -> impl Iterator<Item = u32> + use<'s, 'a, F> {
        let (block, place) = self.find(name, &name_of);
        let next = self.blocks.get(block).and_then(|numbers| numbers.get(place));
        let place = place + usize::from(next.is_some_and(|&number| name_of(number) == name));
        self.blocks.iter().skip(block).flatten().copied().skip(place)
    }

    /// The block in which `name` is or would be put in, and its place there.
    fn find<'a>(&self, name: &[u8], name_of: impl Fn(u32) -> &'a [u8]) -> (usize, usize) {
        // Segments come in the order of their names.
        let last = self.blocks.last().filter(|numbers| name_of(numbers[0]) <= name);
        let block = match last {
            Some(_) => self.blocks.len() - 1,
            None => {
                let after = self.blocks.partition_point(|block| name_of(block[0]) <= name);
                after.saturating_sub(1)
            }
        };
        let numbers = self.blocks.get(block).map_or(&[][..], |numbers| numbers);
        let is_before = |number: u32| name_of(number) < name;
        let place = match numbers.last() {
            Some(&number) if is_before(number) => numbers.len(),
            _ => numbers.partition_point(|&number| is_before(number)),
        };
        (block, place)
    }

    /// Makes one block of two that are small.
    fn join(&mut self, block: usize) {
        if let [numbers, next, ..] = &mut self.blocks[block..]
            && numbers.len() + next.len() <= BLOCK_MAX / 2
        {
            numbers.append(next);
            self.blocks.remove(block + 1);
        }
    }
}

/// Numbers in a block.
const BLOCK_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names() -> Vec<Vec<u8>> {
        (0..20_000).map(|number| format!("{number:05}").into_bytes()).collect()
    }

    /// Puts numbers in and takes them out as a set does, and compares with that.
    fn compare(inserts: impl Iterator<Item = u32>, removes: impl Iterator<Item = u32>) -> Order {
        let names = names();
        let name_of = |number: u32| &*names[number as usize];
        let (mut order, mut set) = (Order::default(), BTreeSet::new());
        for number in inserts {
            if set.insert(number) {
                order.insert(number, name_of);
            }
        }
        assert!(order.after(b"", name_of).eq(set.iter().copied()));
        for number in removes {
            if set.remove(&number) {
                order.remove(number, name_of);
            }
        }
        assert!(order.after(b"", name_of).eq(set.iter().copied()));
        for from in (0..20_000).step_by(777) {
            let after = order.after(name_of(from), name_of);
            assert!(after.eq(set.range(from + 1..).copied()), "after {from}");
        }
        assert!(order.blocks.iter().all(|block| (1..=BLOCK_MAX).contains(&block.len())));
        order
    }

    /// Numbers in no order, each once.
    fn shuffled(count: u32) -> impl Iterator<Item = u32> {
        (0..count).map(move |at| (at * 7_919 + 13) % count)
    }

    #[test]
    fn whatever_the_order_it_is_a_set() {
        for removed in [0, 19_000, 20_000] {
            compare(0..20_000, shuffled(20_000).take(removed));
            compare((0..20_000).rev(), (0..20_000).take(removed));
            compare(shuffled(20_000), (0..20_000).rev().take(removed));
            // Eight writers, each in order.
            let writers = (0..20_000).map(|at| at % 8 * 2_500 + at / 8);
            compare(writers, shuffled(20_000).take(removed));
        }
    }

    #[test]
    fn blocks_are_filled_and_joined() {
        assert_eq!(compare(0..20_000, 0..0).blocks.len(), 20_000_usize.div_ceil(BLOCK_MAX));
        assert!(compare(shuffled(20_000), 0..0).blocks.len() < 2 * 20_000 / BLOCK_MAX);
        assert!(compare(shuffled(20_000), shuffled(20_000).take(19_900)).blocks.len() < 4);
        assert!(compare(0..20_000, 0..20_000).is_empty());
    }
}
