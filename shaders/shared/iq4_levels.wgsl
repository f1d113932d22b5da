// The table of IQ4_NL, each entry plus 128.

fn table_level(index: u32) -> u32 {
    var levels = array<u32, 16>(1u, 24u, 45u, 63u, 79u, 93u, 106u, 118u, 129u, 141u, 153u, 166u, 181u, 197u, 217u, 241u);
    return levels[index];
}
