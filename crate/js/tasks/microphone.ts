// The microphone as a stream of samples. The audio thread hands them over through a worklet of a few lines, a file of its
// own beside this one: nothing is made of text at run time.
import { HomefireError } from "../index.js";

/** A microphone that is on. */
export interface Microphone {
  /** Samples per second. */
  readonly rate: number;
  /** Switches it off. */
  close(): Promise<void>;
}

/**
 * Asks for the microphone and hands every block of its samples to `onSamples`.
 *
 * @throws {HomefireError} `invalid-input` when the visitor or the page does not allow it, or there is none.
 */
export async function openMicrophone(onSamples: (samples: Float32Array, rate: number) => void, constraints: MediaTrackConstraints = {}): Promise<Microphone> {
  const devices = globalThis.navigator?.mediaDevices;
  if (!devices) throw new HomefireError("invalid-input", "There is no microphone here: a page may use one over https or on localhost only.");
  let stream: MediaStream;
  try {
    stream = await devices.getUserMedia({ audio: { channelCount: 1, ...constraints } });
  } catch (thrown) {
    const { name, message } = thrown as Error;
    const why = name === "NotAllowedError" ? "it was not allowed. Allow it in the address bar" : name === "NotFoundError" ? "there is none. Connect one" : message;
    throw new HomefireError("invalid-input", `The microphone cannot be used: ${why}, and try again.`);
  }
  const context = new AudioContext();
  const close = async (): Promise<void> => {
    for (const track of stream.getTracks()) track.stop();
    if (context.state !== "closed") await context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("./microphone-worklet.js?no-inline", import.meta.url));
    const tap = new AudioWorkletNode(context, "homefire-microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    tap.port.onmessage = ({ data }: MessageEvent<Float32Array>) => onSamples(data, context.sampleRate);
    context.createMediaStreamSource(stream).connect(tap);
    await context.resume();
    return { rate: context.sampleRate, close };
  } catch (thrown) {
    await close();
    throw new HomefireError(
      "fetch",
      `The package's own microphone-worklet.js could not be started (${thrown instanceof Error ? thrown.message : String(thrown)}). ` +
        "Serve it beside the bundle; `npx homefire copy FOLDER` copies it.",
    );
  }
}
