/** What the main loop and the thread that holds pulse links say to each other. */
import type { TlsOptions } from '../env/env.ts'
import type { LinkOptions } from '../link/options.ts'
import type { Run } from '../sessions/directory.ts'

export type ToPulseLinks =
  | {
      at: 'add'
      id: number
      run: Run
      cluster: string
      secrets: readonly Uint8Array[]
      tls: TlsOptions | undefined
      options: LinkOptions
      stallMs: number
      /** One cell: µs of the main loop's monotonic clock when it last moved. */
      shared: SharedArrayBuffer
    }
  /** Be linked there, or nowhere. */
  | { at: 'link'; id: number; endpoint: string | undefined }
  | { at: 'remove'; id: number }

export type FromPulseLinks = { at: 'failed'; id: number; error: string } | { at: 'removed'; id: number }
