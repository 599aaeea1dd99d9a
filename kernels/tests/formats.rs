//! Decoding, bit for bit against the numpy decoder of the `gguf` package (`data/formats.py` made `data/formats.bin`).

use wattle_kernels::{Format, TILE_LAYOUT, TILE_ROWS, decode, pack, tile_bytes};

/// Takes `n` bytes off the front.
fn take<'a>(data: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, rest) = data.split_at(n);
    *data = rest;
    head
}

fn u32_le(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[test]
fn every_format_decodes_as_in_the_gguf_package() {
    let mut data: &[u8] = include_bytes!("data/formats.bin");
    let mut seen = Vec::new();
    while !data.is_empty() {
        let format = Format::from_ggml(u32_le(take(&mut data, 4))).unwrap();
        let blocks = u32_le(take(&mut data, 4)) as usize;
        let bytes = take(&mut data, blocks * format.block_bytes());
        let wanted = take(&mut data, blocks * format.block() * 4);
        let mut out = vec![f32::NAN; blocks * format.block()];
        decode(format, bytes, &mut out);
        for (i, (out, want)) in out.iter().zip(wanted.chunks(4)).enumerate() {
            let want = f32::from_bits(u32_le(want));
            // Zeros of either sign are the same weight.
            assert!(
                out.to_bits() == want.to_bits() || (*out == 0.0 && want == 0.0),
                "{} weight {i}: {out:e}, not {want:e}",
                format.name()
            );
        }
        seen.push(format);
    }
    for format in Format::ALL {
        assert!(
            *format == Format::F32 || seen.contains(format),
            "{} is not in the data",
            format.name()
        );
    }
}

#[test]
fn f32_decodes_to_itself() {
    let values = [0.0_f32, -0.0, 1.5, -1e-42, f32::MAX, f32::INFINITY];
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut out = [0.0; 6];
    decode(Format::F32, &bytes, &mut out);
    assert_eq!(out.map(f32::to_bits), values.map(f32::to_bits));
}

#[test]
fn mxfp4_scale_255_is_nan() {
    let mut block = [0x21; 17];
    block[0] = 255;
    let mut out = [0.0; 32];
    decode(Format::Mxfp4, &block, &mut out);
    assert!(out.iter().all(|v| v.is_nan()));
}

#[test]
fn sizes_are_those_of_ggml() {
    let sizes: Vec<_> = Format::ALL
        .iter()
        .map(|f| (f.name(), f.ggml_id(), f.block(), f.block_bytes()))
        .collect();
    let wanted = [
        ("F32", 0, 1, 4),
        ("F16", 1, 1, 2),
        ("BF16", 30, 1, 2),
        ("Q4_0", 2, 32, 18),
        ("Q4_1", 3, 32, 20),
        ("Q5_0", 6, 32, 22),
        ("Q5_1", 7, 32, 24),
        ("Q8_0", 8, 32, 34),
        ("Q2_K", 10, 256, 84),
        ("Q3_K", 11, 256, 110),
        ("Q4_K", 12, 256, 144),
        ("Q5_K", 13, 256, 176),
        ("Q6_K", 14, 256, 210),
        ("IQ4_NL", 20, 32, 18),
        ("IQ4_XS", 23, 256, 136),
        ("MXFP4", 39, 32, 17),
    ];
    assert_eq!(sizes, wanted);
    for format in Format::ALL {
        assert_eq!(Format::from_ggml(format.ggml_id()), Some(*format));
        assert_eq!(
            format.row_bytes(512),
            Some(512 / format.block() * format.block_bytes())
        );
    }
    assert_eq!(Format::from_ggml(4), None, "removed from ggml");
    assert_eq!(Format::Q4K.row_bytes(576), None);
    assert_eq!(Format::F32.row_bytes(usize::MAX), None);
}

#[test]
#[should_panic(expected = "Q8_0: not whole blocks")]
fn a_cut_block_is_refused() {
    decode(Format::Q8_0, &[0; 33], &mut [0.0; 32]);
}

/// Tiles are kept in files that a later version may find. Where this fails, the number goes up with the layout.
#[test]
fn tiles_are_laid_out_as_their_number_says() {
    let mut all = Vec::new();
    for &format in Format::ALL {
        // Two chunks, the second of them not whole where it can be.
        let cols = if format.block() == 32 { 160 } else { 512 };
        let Some(bytes) = tile_bytes(format, cols) else {
            continue;
        };
        let mut noise = 1_u32;
        let rows: Vec<u8> = (0..bytes)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise.to_be_bytes()[0]
            })
            .collect();
        let mut tile = vec![0; bytes];
        pack(format, cols, &rows, &mut tile);
        assert_eq!(bytes % TILE_ROWS, 0, "{}", format.name());
        all.extend(tile);
    }
    // FNV-1a.
    let hash = all.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let laid_out = (TILE_LAYOUT, format!("{hash:016x}"));
    assert_eq!(laid_out, (2, "dde8b5314c2b04fe".to_owned()));
}
