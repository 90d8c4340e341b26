// Turns the three planes of a picture into colours.

struct View {
    // The part of the picture that is seen: left, top, width, height as shares of the whole.
    // A negative width mirrors it.
    crop: vec4<f32>,
    // The tile in physical pixels.
    size: vec2<f32>,
    // Of its corners, in physical pixels.
    radius: f32,
    // 1 when the target encodes for the screen by itself and wants linear light.
    linear: f32,
    // The line along the edge: its colour as the screen encodes it, its width in physical pixels.
    ring: vec4<f32>,
}

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var smooth_sampler: sampler;
@group(0) @binding(2) var luma: texture_2d<f32>;
@group(0) @binding(3) var blue: texture_2d<f32>;
@group(0) @binding(4) var red: texture_2d<f32>;

struct Corner {
    @builtin(position) position: vec4<f32>,
    // 0 to 1 across and down the tile.
    @location(0) place: vec2<f32>,
}

@vertex
fn corner(@builtin(vertex_index) index: u32) -> Corner {
    let place = vec2<f32>(f32(index & 1u), f32(index >> 1u));
    var corner: Corner;
    corner.position = vec4<f32>(place.x * 2.0 - 1.0, 1.0 - place.y * 2.0, 0.0, 1.0);
    corner.place = place;
    return corner;
}

fn to_linear(encoded: vec3<f32>) -> vec3<f32> {
    let low = encoded / 12.92;
    let high = pow((encoded + 0.055) / 1.055, vec3<f32>(2.4));
    return select(high, low, encoded <= vec3<f32>(0.04045));
}

@fragment
fn pixel(corner: Corner) -> @location(0) vec4<f32> {
    let at = view.crop.xy + corner.place * view.crop.zw;
    let y = (textureSample(luma, smooth_sampler, at).r - 16.0 / 255.0) * (255.0 / 219.0);
    let u = (textureSample(blue, smooth_sampler, at).r - 128.0 / 255.0) * (255.0 / 224.0);
    let v = (textureSample(red, smooth_sampler, at).r - 128.0 / 255.0) * (255.0 / 224.0);
    // ITU-R BT.601, limited range.
    let encoded = clamp(
        vec3<f32>(y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u),
        vec3<f32>(0.0),
        vec3<f32>(1.0),
    );

    // The distance to a rectangle with round corners, softened over one pixel.
    let half_size = view.size * 0.5;
    let beyond = abs(corner.place * view.size - half_size) - half_size + view.radius;
    let distance = length(max(beyond, vec2<f32>(0.0))) + min(max(beyond.x, beyond.y), 0.0)
        - view.radius;
    let alpha = select(1.0, clamp(0.5 - distance, 0.0, 1.0), view.radius > 0.0);
    let line = clamp(distance + view.ring.w + 0.5, 0.0, 1.0) * step(0.5, view.ring.w);
    let lined = mix(encoded, view.ring.rgb, line);

    let color = select(lined, to_linear(lined), view.linear > 0.5);
    return vec4<f32>(color, alpha);
}
