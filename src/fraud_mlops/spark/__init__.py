"""The Spark engine: features over partitions, bit for bit as one machine makes them, and scores.

- Spark reads the lakehouse's Parquet and shuffles; tasks are the library's own functions over
  arrays. Only the DataFrame API: serverless compute has no other.
- A task sees neither store nor secret: it encodes whole partitions with the lakehouse's writer and
  hands over their bytes, which the driver commits (`delivery`).
- The driver passes once over three columns (time, label, when it was known), some 9 bytes a claim
  in memory, to cut windows as the local engine does (`calendar`).
- A task's memory is that of a bucket of entities, of a few days, or of a batch. An entity with
  more claims than a bucket is cut in time, with overlap (`histories`).
"""
